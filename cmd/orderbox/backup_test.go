package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

// mustParse parses a URL.
func mustParse(tb testing.TB, address string) *url.URL {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// What docs/OPERATING.md says about backups is done as it stands there, from one server to another.
func TestADumpIsRestored(t *testing.T) {
	t.Parallel()
	path := os.Getenv("PATH")
	if _, err := exec.LookPath("pg_dump"); err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
		if len(found) == 0 {
			t.Skip("there is no pg_dump on this machine")
		}
		path += string(os.PathListSeparator) + filepath.Dir(slices.Max(found))
	}
	from, to := testservers.Database(t), testservers.OwnPostgres(t).Database()
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	p, _ := mustServe(t, from, broker, channel)
	payloads, uids := generated(71, 300)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
	mustDecide(t, from, 300)
	out, _ := mustRun(t, 0, "verify", "--data", t.TempDir(), "--database-url", from.ServiceURL)
	fingerprint := mustFind(t, `(fingerprint .*)`, out)

	// A dump keeps its database's name, which is another one here.
	service, admin := mustParse(t, to.ServiceURL), mustParse(t, to.AdminURL)
	service.Path, admin.Path = mustParse(t, from.AdminURL).Path, "/postgres"
	to.ServiceURL = service.String()
	const written = "postgres://postgres:ADMIN@db:5432/"
	meant := strings.NewReplacer("    orderbox ", os.Args[0]+" ", written+"orderbox", "'"+from.AdminURL+"'", written+"postgres", "'"+admin.String()+"'")
	_, section, _ := strings.Cut(mustRead(t, "../../docs/OPERATING.md"), "\n## Backup and restoring\n")
	section, _, _ = strings.Cut(section, "\n## ")
	commands := regexp.MustCompile(`(?m)^    .+$`).FindAllString(section, -1)
	if len(commands) != 5 {
		t.Fatalf("docs/OPERATING.md has %d commands, not 5: %q", len(commands), commands)
	}
	dir, last := t.TempDir(), ""
	for _, command := range commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", meant.Replace(command))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+path, "ORDERBOX_DATABASE_URL="+to.ServiceURL, "ORDERBOX_READER_PASSWORD="+testservers.Password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		if last = string(out); strings.Contains(command, "pg_dump") {
			mustPublish(t, broker.URL, broker.Cluster, channel, 0, mustOrder(t, "order_uid", "too-late"))
			mustDecide(t, from, 301)
			p.mustStop()
		}
	}
	mustSay(t, last, fingerprint, "it adds up, and the laws hold")

	_, address := mustServe(t, to, broker, channel)
	testservers.Eventually(t, "the orders are answered", func() bool {
		code, _ := get(t, "http://"+address+"/api/v1/orders/"+uids[len(uids)-1], "")
		return code == 200
	})
}
