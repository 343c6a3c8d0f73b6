package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// mustRun runs a command that must end with an exit code, and returns what it printed.
func mustRun(tb testing.TB, code int, args ...string) (out, errs string) {
	tb.Helper()
	got, out, errs := runOrderbox(tb.Context(), args...)
	if got != code {
		tb.Fatalf("orderbox %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return out, errs
}

// mustSay checks what a command printed.
func mustSay(tb testing.TB, printed string, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		if !strings.Contains(printed, part) {
			tb.Errorf("%q is not in\n%s", part, printed)
		}
	}
}

// refusedMessages are one with a wrong price, another one, one that is no JSON, and one for a terminal to obey.
func refusedMessages(tb testing.TB) [][]byte {
	tb.Helper()
	wrong := func(uid, from, to string) []byte {
		text := strings.Replace(string(publisher.Model), modelUID, uid, 1)
		if !strings.Contains(text, from) {
			tb.Fatalf("%s is not in the model", from)
		}
		return []byte(strings.Replace(text, from, to, 1))
	}
	return [][]byte{
		wrong("cheap", `"price": 453`, `"price": "453"`),
		wrong("cheaper", `"price": 453`, `"price": "45"`),
		[]byte("{\x00\xff"),
		[]byte("{\"\x1b[2J\": 1, \"\x1b[2J\": 2}"),
	}
}

func TestAnOperatorSeesWhatWasRefusedAndDecides(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	p := mustProgram(t, nil, "up", "--data", dir, "--listen", "127.0.0.1:0", "--empty")
	env := mustEnv(t, dir)
	payloads := refusedMessages(t)
	for i := range maxPage { // so that there are two pages
		payloads = append(payloads, fmt.Appendf(nil, "rubbish %d", i))
	}
	mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	testservers.Eventually(t, "all are refused", func() bool { return stats(t, env).DeadLetters == int64(len(payloads)) })
	command := func(code int, args ...string) (out, errs string) {
		t.Helper()
		return mustRun(t, code, append(append([]string{"dead-letters"}, args...), "--data", dir)...)
	}

	list, _ := command(0, "list", "--limit", "0")
	mustSay(t, list, "ID ", "open", "invalid", "malformed", "/items/0/price", "The order breaks the schema")
	if strings.Contains(list, "Testov") || strings.Contains(list, "\x1b") {
		t.Errorf("the list shows what it must not:\n%q", list)
	}
	ids := mustListIDs(t, dir)
	if len(ids) != len(payloads) {
		t.Fatalf("%d of %d are listed", len(ids), len(payloads))
	}
	cheap, cheaper, binary := ids[0], ids[1], ids[2]
	out, errs := command(0, "list", "--limit", "1", "--place", "/items/*/price")
	mustSay(t, out, cheaper)
	mustSay(t, errs, "there are more")
	out, _ = command(0, "list", "--text", "no message holds this")
	mustSay(t, out, "no dead letters")
	out, _ = command(0, "groups")
	mustSay(t, out, "2  invalid    /items/*/price", "102  malformed  ")
	out, _ = command(0, "groups", "--by", "reason", "--json")
	mustSay(t, out, `"count":102`)
	out, _ = command(0, "show", cheap)
	mustSay(t, out, "dead letter "+cheap+"  invalid, open", "channel orders", "/items/0/price")

	out, _ = command(0, "payload", cheap)
	if out != string(payloads[0]) {
		t.Errorf("the payload is %q", out)
	}
	file := filepath.Join(t.TempDir(), "payload")
	command(0, "payload", binary, "--output", file)
	if saved, err := os.ReadFile(file); err != nil || !bytes.Equal(saved, payloads[2]) {
		t.Errorf("the payload is %q, %v", saved, err)
	}
	out, _ = command(0, "reproduce", cheap, "--output", "-")
	mustSay(t, out, "package projector", "func TestReproducesDeadLetter"+cheap)

	// One by one.
	out, errs = command(1, "retry", cheap, "--note", "to see")
	mustSay(t, out+errs, cheap+" was refused again: ", "1 of 1 refused again")
	if err := os.WriteFile(file, bytes.Replace(payloads[0], []byte(`"453"`), []byte("453"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = command(0, "amend", cheap, file, "--note", "a number")
	mustSay(t, out, cheap+" became order cheap")
	if code, _ := get(t, env["ORDERBOX_URL"]+"/api/v1/orders/cheap", ""); code != http.StatusOK {
		t.Errorf("the amended order: %d", code)
	}
	out, _ = command(0, "amend", cheaper, file)
	mustSay(t, out, cheaper+" is a duplicate of order cheap")
	out, _ = command(0, "show", cheap)
	mustSay(t, out, "resolved", "retry by operator", "to see", "it became order cheap")
	_, errs = command(1, "retry", cheap)
	mustSay(t, errs, cheap+": This cannot be decided as things stand", "resolved", "\ntry: ")
	command(0, "discard", binary, "--note", "noise")
	command(0, "reopen", binary)

	// By a patch.
	patch := `[{"op": "add", "path": "/patched", "value": 1.50}]`
	out, _ = command(0, "amend", "--text", "2J", "--patch", patch)
	mustSay(t, out, "0 dead letters would be amended, 1 left out (to 1 the patch does not apply); the schema in force lets 0 through\n")
	out, _ = command(0, "amend", "--state", "open", "--until", "0s", "--patch", `[{"op": "remove", "path": "/items"}]`)
	mustSay(t, out, "0 dead letters would be amended, 102 left out (to 102")
	_, errs = command(1, "amend", "--state", "open", "--patch", `[{"op": "mend"}]`)
	mustSay(t, errs, "not a JSON Patch", "\ntry: Write it like this")
	_, errs = command(2, "amend", "--patch", patch)
	mustSay(t, errs, "by a filter")

	// Many at once.
	out, errs = command(0, "discard", "--reason", "malformed", "--note", "noise")
	mustSay(t, out, "102 dead letters would be discarded\n")
	mustSay(t, errs, "--yes")
	_, errs = command(1, "discard", "--reason", "malformed", "--note", "noise", "--yes", "--expect", "3")
	mustSay(t, errs, "not as many as expected", "\ntry: ")
	out, _ = command(0, "retry", "--reason", "malformed", "--yes")
	mustSay(t, out, "102 dead letters retried\n", "the filter now finds 102 open\n")
	out, _ = command(0, "discard", "--reason", "malformed", "--note", "noise", "--yes")
	mustSay(t, out, "102 dead letters discarded\n")
	testservers.Eventually(t, "the discards show", func() bool { return len(mustListIDs(t, dir, "--state", "discarded")) == 102 })

	// What goes wrong.
	_, errs = command(1, "list", "--reason", "nonsense")
	mustSay(t, errs, "malformed", "\ntry: ")
	_, errs = command(1, "show", "999999")
	mustSay(t, errs, "No dead letter has this id\ntry: ")
	_, errs = command(1, "list", "--operator-token", "wrong")
	mustSay(t, errs, "This is for the operator", "\ntry: Send ", "--operator-token")
	p.mustStop()
	_, errs = command(1, "list")
	mustSay(t, errs, "no service answers at "+env["ORDERBOX_URL"], "\ntry: orderbox up")
}

// mustListIDs lists dead letters as JSON and returns their ids, the oldest first.
func mustListIDs(tb testing.TB, dir string, filter ...string) (ids []string) {
	tb.Helper()
	out, _ := mustRun(tb, 0, append([]string{"dead-letters", "list", "--json", "--limit", "0", "--data", dir}, filter...)...)
	for line := range strings.Lines(out) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			tb.Fatalf("%v: %s", err, line)
		}
		ids = append([]string{strconv.FormatInt(l.ID, 10)}, ids...)
	}
	return ids
}

func TestATerminalIsShownNothingToObey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/items/0/price": "/items/0/price", "цена": "цена", "a b": "a b",
		"\x1b[2J": "\ufffd[2J", "a\nb": "a\ufffdb", "\u009b2J": "\ufffd2J", "\u202eexe": "\ufffdexe",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
	for payload, want := range map[string]bool{
		"{\n\t\"имя\": 1\r\n}": true, "": true, "\x00": false, "\xff": false, "\x1b[2J": false, "\u009b": false,
	} {
		if isReadable([]byte(payload)) != want {
			t.Errorf("%q is readable: %v", payload, !want)
		}
	}
	for text, want := range map[string]string{"ценник": "цен…", "цена": "цена"} {
		if got := cut(text, 4); got != want {
			t.Errorf("%q was cut to %q", text, got)
		}
	}
}

func TestTheServicesOwnTokensWillDo(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"secret": "secret", "ann:secret": "secret", "ann:secret,bob:other": "secret",
	} {
		if api, err := (operatorFlags{Token: setting}).api(); err != nil || api.secret != want {
			t.Errorf("%s: %q, %v", setting, api.secret, err)
		}
	}
}
