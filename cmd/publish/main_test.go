package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/stan.go"

	"orderbox/internal/cli"
	"orderbox/internal/envfile"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	testservers.Main(m)
}

type outcome struct {
	code           int
	stdout, stderr string
}

func publish(t *testing.T, stdin io.Reader, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), args, cli.Streams{In: stdin, Out: &stdout, Err: &stderr}, new(command), options()...)
	return outcome{code, stdout.String(), stderr.String()}
}

// mustReceive returns the first n messages of a channel.
func mustReceive(t *testing.T, broker testservers.STAN, channel string, n int) []string {
	t.Helper()
	conn, err := stan.Connect(broker.Cluster, "receiver-"+channel, stan.NatsURL(broker.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	messages := make(chan string, n)
	if _, err := conn.Subscribe(channel, func(m *stan.Msg) { messages <- string(m.Data) }, stan.DeliverAllAvailable()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < n {
		select {
		case m := <-messages:
			got = append(got, m)
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d messages came", len(got), n)
		}
	}
	return got
}

func mustWrite(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "")
	got := publish(t, nil, "--help")
	if got.code != 0 || got.stderr != "" {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	const golden = "testdata/help.txt"
	if *update {
		mustWrite(t, golden, got.stdout)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.stdout != string(want) {
		t.Errorf("--help is not %s (go test -update writes it):\n%s", golden, got.stdout)
	}
}

func TestWrongUsageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing to publish", nil, "nothing to publish"},
		{"unknown flag", []string{"--bla"}, "unknown flag --bla"},
		{"share beyond 1", []string{"--count=1", "--rubbish=300%"}, "no share"},
		{"negative count", []string{"--count=-1"}, "cannot be negative"},
		{"rubbish without count", []string{"--rubbish=10%"}, "--count"},
		{"channel with a wildcard", []string{"--count=1", "--channel=orders.*"}, "orders.*"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := publish(t, nil, test.args...)
			if got.code != 2 || !strings.Contains(got.stderr, test.want) || !strings.Contains(got.stderr, "\ntry: publish --help") ||
				strings.Count(got.stderr, "\n") != 2 || got.stdout != "" {
				t.Errorf("%+v, want a line with %q and exit code 2", got, test.want)
			}
		})
	}
}

func TestPublishesOverTLSAndToNobodyElse(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	broker := testservers.SecureBroker(t, authority)
	cert, key := authority.Issue()
	args := []string{"--nats-url", broker.URL, "--stan-cluster", broker.Cluster, "--nats-cert", cert, "--nats-key", key, "--count", "3", "--nats-ca"}
	if got := publish(t, nil, append(args, authority.File)...); got.code != 0 || !strings.HasPrefix(got.stdout, "published 3 messages") {
		t.Errorf("%+v", got)
	}
	got := publish(t, nil, append(args, testservers.NewAuthority(t).File)...)
	if got.code != 1 || !strings.Contains(got.stderr, "\ntry: --nats-ca FILE") || strings.Contains(got.stderr, testservers.BrokerPassword) {
		t.Errorf("an authority that did not sign the broker's certificate: %+v", got)
	}
	if got := publish(t, nil, append(args, "/nowhere/ca.pem")...); got.code != 2 || !strings.Contains(got.stderr, "/nowhere/ca.pem") {
		t.Errorf("an authority that is not there: %+v", got)
	}
}

func TestCountAndSourcesExcludeEachOther(t *testing.T) {
	t.Parallel()
	c := &command{Count: 1, Sources: []string{"file"}}
	if err := c.AfterApply(cli.Streams{}); err == nil || !strings.Contains(err.Error(), "either --count or sources") {
		t.Errorf("error %v", err)
	}
}

func TestFilesAndDirectoriesArePublishedVerbatim(t *testing.T) {
	t.Parallel()
	broker, channel, dir := testservers.Broker(t), testservers.Channel(t), t.TempDir()
	file := mustWrite(t, filepath.Join(dir, "model.txt"), string(publisher.Model))
	mustWrite(t, filepath.Join(dir, "b.json"), "second\n")
	mustWrite(t, filepath.Join(dir, "a.json"), "\x00first")

	got := publish(t, nil, "--nats-url", broker.URL, "--stan-cluster", broker.Cluster, "--channel", channel, file, dir)
	if got.code != 0 || !regexp.MustCompile(`^published 3 messages in \d+\.\ds, \d+/s\n$`).MatchString(got.stdout) || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	if want := []string{string(publisher.Model), "\x00first", "second\n"}; !slices.Equal(mustReceive(t, broker, channel, 3), want) {
		t.Error("not the files, in their order, byte for byte")
	}
}

func TestLinesOfStandardInputArePublished(t *testing.T) {
	t.Parallel()
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	for _, args := range [][]string{{"-"}, nil} {
		args = append(args, "--nats-url", broker.URL, "--stan-cluster", broker.Cluster, "--channel", channel, "--quiet")
		if got := publish(t, strings.NewReader("one\r\n\n  {}\nlast"), args...); got != (outcome{}) {
			t.Fatalf("%+v", got)
		}
	}
	want := []string{"one\r", "  {}", "last", "one\r", "  {}", "last"}
	if got := mustReceive(t, broker, channel, 6); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOverlongLineIsReportedAndLeftOut(t *testing.T) {
	t.Parallel()
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	stdin := io.MultiReader(strings.NewReader("one\n"), io.LimitReader(endless{}, maxMessage+1), strings.NewReader("\nthree\n"))
	got := publish(t, stdin, "--nats-url", broker.URL, "--stan-cluster", broker.Cluster, "--channel", channel)
	if got.code != 1 || !strings.Contains(got.stderr, `"line 2"`) || !strings.Contains(got.stderr, "1 messages were left out") {
		t.Errorf("%+v", got)
	}
	if got := mustReceive(t, broker, channel, 2); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("%q", got)
	}
}

// endless is one line without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestGeneratedMessagesAreThoseOfTheSeed(t *testing.T) {
	t.Parallel()
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	got := publish(t, nil, "--nats-url", broker.URL, "--stan-cluster", broker.Cluster, "--channel", channel,
		"--count=200", "--rubbish=10%", "--seed=42")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "published 200 messages (20 rubbish, seed 42) in ") {
		t.Fatalf("%+v", got)
	}
	var want []string
	for m := range publisher.Messages(42, 200, 0.1) {
		want = append(want, string(m.Payload))
	}
	if !slices.Equal(mustReceive(t, broker, channel, 200), want) {
		t.Error("not the messages of the seed")
	}
}

func TestFlagsBeatEnvironmentBeatsEnvFile(t *testing.T) {
	broker, data := testservers.Broker(t), t.TempDir()
	fromFile, fromEnvironment, fromFlag := testservers.Channel(t), testservers.Channel(t), testservers.Channel(t)
	if err := envfile.Write(filepath.Join(data, "env"), []envfile.Pair{
		{Key: "ORDERBOX_NATS_URL", Value: broker.URL},
		{Key: "ORDERBOX_STAN_CLUSTER", Value: broker.Cluster},
		{Key: "ORDERBOX_CHANNEL", Value: fromFile},
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ORDERBOX_NATS_URL", "ORDERBOX_STAN_CLUSTER", "ORDERBOX_CHANNEL"} {
		t.Setenv(name, "") // so that it comes back
		os.Unsetenv(name)
	}
	must := func(channel string, args ...string) {
		t.Helper()
		if got := publish(t, nil, append(args, "--data", data, "--count=1", "--seed=1")...); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		mustReceive(t, broker, channel, 1)
	}
	must(fromFile)
	t.Setenv("ORDERBOX_CHANNEL", fromEnvironment)
	must(fromEnvironment)
	must(fromFlag, "--channel", fromFlag)
}

func TestFailuresAreOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	got := publish(t, nil, "--nats-url", broker.URL, "--stan-cluster", broker.Cluster, filepath.Join(t.TempDir(), "nowhere.json"))
	if got.code != 1 || !strings.Contains(got.stderr, "nowhere.json") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("%+v", got)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := cli.Run(stopped, []string{"--nats-url=nats://127.0.0.1:1", "--count=1"}, cli.Streams{Out: &stdout, Err: &stderr},
		new(command), options()...)
	if code != 1 || !strings.Contains(stderr.String(), "try: orderbox up") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}
