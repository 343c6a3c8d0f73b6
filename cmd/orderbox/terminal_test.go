package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Colours are for a person who wants them.
func TestColoursAreForATerminalAlone(t *testing.T) {
	t.Parallel()
	terminal, err := exec.LookPath("script")
	if err != nil {
		t.Skip("there is no script(1), which makes a terminal")
	}
	const colour = "\x1b["
	ask := func(name string, args []string, env ...string) string {
		c := exec.CommandContext(t.Context(), name, args...)
		c.Env = append(append(os.Environ(), asProgram+"=1", "TERM=xterm", "NO_COLOR="), env...)
		said, _ := c.CombinedOutput() // the program itself fails
		if !strings.Contains(string(said), "frobnicate") {
			t.Fatalf("%s %q says %q", name, args, said)
		}
		return string(said)
	}
	onTerminal := []string{"--quiet", "--command", fmt.Sprintf("'%s' frobnicate", os.Args[0]), "/dev/null"}
	if said := ask(terminal, onTerminal); !strings.Contains(said, colour) {
		t.Errorf("at a terminal there is no colour: %q", said)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if said := ask(terminal, onTerminal, env); strings.Contains(said, colour) {
			t.Errorf("with %s: %q", env, said)
		}
	}
	if said := ask(os.Args[0], []string{"frobnicate"}); strings.Contains(said, colour) {
		t.Errorf("into a pipe: %q", said)
	}
}

func TestAShellIsToldHowToGoOn(t *testing.T) {
	for line, want := range map[string]string{
		"orderbox dead":                   "dead-letters",
		"orderbox dead-letters re":        "reopen reproduce retry",
		"orderbox replay --max":           "--max-refused",
		"orderbox dead-letters list --js": "--json",
	} {
		t.Setenv("COMP_LINE", line)
		code, out, errs := runOrderbox(t.Context())
		if words := slices.Sorted(slices.Values(strings.Fields(out))); code != 0 || errs != "" || strings.Join(words, " ") != want {
			t.Errorf("%s: exit code %d, %q %s, want %s", line, code, words, errs, want)
		}
	}
	t.Setenv("COMP_LINE", "")
	t.Setenv("SHELL", "/bin/bash")
	if code, out, errs := runOrderbox(t.Context(), "completion"); code != 0 || !strings.HasSuffix(out, " orderbox\n") || !strings.HasPrefix(out, "complete -C /") {
		t.Errorf("exit code %d, %q %s", code, out, errs)
	}
}

func TestTheVersionIsSaid(t *testing.T) {
	t.Parallel()
	code, out, errs := runOrderbox(t.Context(), "--version")
	if words := strings.Fields(out); code != 0 || errs != "" || len(words) < 3 || !strings.Contains(out, " go1.") {
		t.Errorf("exit code %d, %q %s", code, out, errs)
	}
}
