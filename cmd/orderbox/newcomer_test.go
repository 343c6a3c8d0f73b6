package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
)

// newcomer is somebody who has README.md, a terminal and a browser, and does what a section of it says.
type newcomer struct {
	*browser
	dir      string            // where the commands are run
	programs *strings.Replacer // what `go run` would build
	up       *program
	token    string
	chapters []string // to be read, each with its title first
	chapter  string   // that is being read
	commands []string // of that, to be run
	film     *film    // nil unless this is recorded
}

// The README's first section for who tries it, and what its console blocks have to be run.
const (
	readmeSection = "\n## Five minutes\n"
	chapterMark   = "\n### "
)

var (
	readmeCommand = regexp.MustCompile(`(?m)^\$ (.+)$`)
	logLine       = regexp.MustCompile(`(?m)^time=.*\n`)
)

// mustNewcomer is a newcomer before the first step.
func mustNewcomer(tb testing.TB) *newcomer {
	tb.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		tb.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), readmeSection)
	if section, _, _ = strings.Cut(section, "\n## "); !found {
		tb.Fatalf("README.md has no section %q", readmeSection)
	}
	n := &newcomer{browser: mustBrowser(tb, ""), dir: testservers.Dir(tb), chapters: strings.Split(section, chapterMark)[1:]}
	n.film = mustFilm(n.browser)
	if err := os.CopyFS(filepath.Join(n.dir, "publisher"), os.DirFS(filepath.Join(root, "publisher"))); err != nil {
		tb.Fatal(err)
	}
	publish := filepath.Join(n.dir, "publish")
	if out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", publish, "orderbox/cmd/publish").CombinedOutput(); err != nil {
		tb.Fatalf("build publish: %v\n%s", err, out)
	}
	n.programs = strings.NewReplacer("go run ./cmd/publish", publish, "go run ./cmd/orderbox", os.Args[0])
	return n
}

// reads goes on to the next chapter, which must have this title.
func (n *newcomer) reads(title string) {
	n.Helper()
	n.did()
	if len(n.chapters) == 0 {
		n.Fatalf("README.md has no chapter %q", title)
	}
	n.chapter, n.chapters = n.chapters[0], n.chapters[1:]
	heading, _, _ := strings.Cut(n.chapter, "\n")
	if heading != title {
		n.Fatalf("README.md goes on with %q, not with %q", heading, title)
	}
	for _, m := range readmeCommand.FindAllStringSubmatch(n.chapter, -1) {
		n.commands = append(n.commands, m[1])
	}
	n.film.caption(title)
}

// did fails for commands of the chapter that were not run.
func (n *newcomer) did() {
	n.Helper()
	if len(n.commands) > 0 {
		n.Errorf("of %q nobody ran %q", n.chapter, n.commands)
	}
}

// isTold fails unless the chapter says that: a newcomer knows of nothing else.
func (n *newcomer) isTold(what string) {
	n.Helper()
	if !strings.Contains(strings.Join(strings.Fields(n.chapter), " "), what) {
		n.Errorf("README.md does not say %q in\n%s", what, n.chapter)
	}
}

// sees is what the chapter says and the page shows now.
func (n *newcomer) sees(what string) {
	n.Helper()
	n.isTold(what)
	n.film.note(what)
}

// command is the next one of the chapter, as the README has it, and to be run. Only what would be in the way of others
// on this machine is another: the page's port.
func (n *newcomer) command() (text string, cmd *exec.Cmd) {
	n.Helper()
	if len(n.commands) == 0 {
		n.Fatalf("README.md has no more commands in\n%s", n.chapter)
	}
	text, n.commands = n.commands[0], n.commands[1:]
	cmd = exec.CommandContext(n.Context(), "sh", "-c", n.programs.Replace(text))
	cmd.Dir, cmd.Env = n.dir, append(os.Environ(), asProgram+"=1", "ORDERBOX_LISTEN="+n.film.listen())
	return text, cmd
}

// runs runs the next command of the chapter, and returns what it printed.
func (n *newcomer) runs() string {
	n.Helper()
	text, cmd := n.command()
	n.film.types(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.Fatalf("%s: %v\n%s", text, err, out)
	}
	n.film.prints(string(out))
	return string(out)
}

// starts runs the next command, which goes on until the test ends, and waits for what it says at last.
func (n *newcomer) starts(last string) string {
	n.Helper()
	text, cmd := n.command()
	n.film.types(text)
	cmd.Args[2] = "exec " + cmd.Args[2]
	n.up = mustStart(n, cmd)
	testservers.Eventually(n, text, func() bool { return strings.Contains(n.up.log.String(), last) })
	greeting := logLine.ReplaceAllString(n.up.log.String(), "")
	n.film.prints(greeting)
	return greeting
}

// mustFind returns what the expression finds in a text.
func mustFind(tb testing.TB, expression, text string) string {
	tb.Helper()
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	if m == nil {
		tb.Fatalf("%s is not in\n%s", expression, text)
	}
	return m[1]
}

// presses clicks what the README calls by that name.
func (n *newcomer) presses(name, selector string, then chromedp.CSS) {
	n.Helper()
	n.isTold(name)
	n.follows(selector, then)
}

// follows clicks what needs no name, and waits for what is there then.
func (n *newcomer) follows(selector string, then chromedp.CSS) {
	n.Helper()
	n.film.point(selector)
	n.click(chromedp.CSS(selector), then)
	n.film.turn()
}

// writes types what the README says into a field.
func (n *newcomer) writes(field, text string) {
	n.Helper()
	n.isTold(text)
	n.film.point(field)
	for part := range n.film.pieces(text) {
		n.fill(chromedp.CSS(field), part)
		n.film.hold(0.07)
	}
}

// replaces marks a text in a field and types another one, both as the README says.
func (n *newcomer) replaces(field, old, text string) {
	n.Helper()
	n.isTold(old)
	const markJS = `(() => {
		const [field, old] = [document.querySelector(%q), %q];
		const at = field.value.indexOf(old);
		field.setSelectionRange(at, at + old.length);
		field.scrollTop = field.scrollHeight * at / field.value.length - field.clientHeight / 2;
		field.focus();
		return at >= 0;
	})()`
	n.film.point(field)
	if !ask(n.browser, "mark "+old, chromedp.Evaluate[bool](fmt.Sprintf(markJS, field, old))) {
		n.Fatalf("%s is not in %s", old, field)
	}
	n.film.hold(1)
	n.writes(field, text)
}

// Who knows nothing but README.md publishes an order, finds it on the page, throws rubbish in, finds that in the
// inspector, makes it right, and sees the order.
func TestANewcomerFollowsTheReadmeInABrowser(t *testing.T) {
	t.Parallel()
	n := mustNewcomer(t)
	defer n.film.render()

	n.reads("1. Start it")
	greeting := n.starts("Ctrl-C\n")
	n.base = strings.TrimSuffix(mustFind(t, `the page +(\S+)`, greeting), "/")
	n.token = mustFind(t, `with the token (\S+)`, greeting)
	n.open("/")
	n.await("the events", `document.querySelector("#live.on")`)
	n.await("the first orders", `document.querySelector("#count").textContent.includes("in all")`)
	n.sees("sample orders")

	n.reads("2. Publish an order of your own")
	n.runs()
	mustSay(t, n.runs(), "published 1 messages")
	n.await("the new order", `document.querySelector("#latest li")?.dataset.uid === "my-first-order"`)
	n.sees("It comes into the list on the page by itself.")

	n.reads("3. Look it up")
	n.writes("#order_uid", "my-first-order")
	n.presses("Look up", ".search button", "#uid")
	n.mustSee("#uid", "my-first-order")
	n.mustSee("article", "Test Testov", "Mascaras")
	n.film.hold(1)

	n.reads("4. Throw rubbish in")
	n.runs()
	n.runs()
	n.runs()
	testservers.Eventually(t, "the rubbish is refused", func() bool {
		_, letters := get(t, n.base+"/api/v1/dead-letters?limit=2", n.token)
		return strings.Contains(letters, "/payment/amount") && strings.Contains(letters, "malformed")
	})

	n.reads("5. Find it, and make it right")
	n.presses("For operators", `.foot a[href="/login"]`, "#token")
	n.sees("log in with the token that `up` printed")
	n.film.point("#token")
	n.fill("#token", n.token)
	n.follows("form.fields button", ".groups")
	n.sees("Open the one that fails at `/payment/amount`")
	n.follows(".letters li:first-child a", ".payload")
	n.mustSee(".violations", "/payment/amount")
	n.mustSee(".payload mark", `"free"`)
	n.film.aim(".payload mark")
	n.sees("the fault is marked in the message")
	n.isTold("What it should have been")
	n.film.aim("#amended")
	n.sees("put `1817` in the place of `\"free\"`")
	n.replaces("#amended", `"free"`, "1817")
	n.presses("Amend", "#amend button", ".note.good")
	n.mustSee(".note.good", "it made an order")
	n.sees("It makes an order")
	n.isTold("my-second-order")
	n.follows(`.note.good a[href="/orders/my-second-order"]`, ".head #uid")
	n.mustSee("#uid", "my-second-order")
	n.mustSee("article", "Where did this come from?", "dead letter")
	n.film.hold(1)

	n.reads("6. Judge everything again")
	mustSay(t, n.runs(), "published 1000 messages (100 rubbish")
	n.presses("Replay", `.operator a[href="/replay"]`, "#replay")
	n.sees("The whole log is judged again, your amendment included")
	n.presses("Replay everything", `form[action="/replay/order"] button`, "#replay")
	n.await("the replay is compared", `document.querySelector("#changed .outcome")`)
	n.mustSee("#changed", "Nothing changes: every row is the same")
	n.sees("The page says what that changed: nothing.")
	mustSay(t, n.runs(), "it adds up, and the laws hold")
	n.film.hold(1)
	n.did()
	if len(n.chapters) > 0 {
		t.Errorf("nobody followed %q", n.chapters)
	}
	n.mustBeFlawless("401")
	n.up.mustStop()
}
