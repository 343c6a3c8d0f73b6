package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderbox/query"
)

const (
	annsSecret = "0123456789abcdef"
	bobsSecret = "fedcba9876543210"
)

func mustTokensFile(tb testing.TB, mode os.FileMode, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestTokensComeFromTheFlagAndTheFile(t *testing.T) {
	t.Parallel()
	ann, bob := query.Token{Name: "ann", Secret: annsSecret}, query.Token{Name: "bob", Secret: bobsSecret + ":x"}
	file := mustTokensFile(t, 0o640, "# who may decide\n\n  bob:"+bobsSecret+":x \n")
	for _, c := range []struct {
		flag, file string
		want       []query.Token
	}{
		{"", "", nil},
		{annsSecret, "", []query.Token{{Name: "operator", Secret: annsSecret}}},
		{"ann:" + annsSecret + ",bob:" + bobsSecret + ":x", "", []query.Token{ann, bob}},
		{"ann:" + annsSecret, file, []query.Token{ann, bob}},
		{"", file, []query.Token{bob}},
	} {
		var log bytes.Buffer
		got, err := webFlags{OperatorToken: c.flag, OperatorTokensFile: c.file}.tokens(slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || !slices.Equal(got, c.want) || log.Len() > 0 {
			t.Errorf("%q and the file: %v, %v, logged %s", c.flag, got, err, log.String())
		}
	}
}

func TestTokensThatAreNoneAreRefusedAndNotTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flag, file string
		mode       os.FileMode
		want       string
	}{
		{"short", "", 0, "token 1 of --operator-token: the secret is shorter than 16 characters"},
		{"ann:" + annsSecret + ",bob:short", "", 0, "token 2 of --operator-token: the secret is shorter"},
		{"ann:" + annsSecret + "," + bobsSecret, "", 0, "token 2 of --operator-token: it is not NAME:SECRET"},
		{"ann smith:" + annsSecret, "", 0, "the name is not"},
		{":" + annsSecret, "", 0, "the name is not"},
		{"ann:" + annsSecret + ",ann:" + bobsSecret, "", 0, "two operator tokens have the name ann"},
		{annsSecret, "operator:" + bobsSecret, 0o600, "two operator tokens have the name operator"},
		{annsSecret, "ann:" + annsSecret, 0o600, "the operator token of ann is another's as well"},
		{"", "# nobody\nann " + annsSecret, 0o600, "line 2 of "},
		{"", "# nobody\n", 0o600, "has no operator token"},
		{"", "ann:" + annsSecret, 0o602, "others than its owner may write"},
		{"", "ann:" + annsSecret, 0o620, "others than its owner may write"},
	} {
		f := webFlags{OperatorToken: c.flag}
		if c.file != "" {
			f.OperatorTokensFile = mustTokensFile(t, c.mode, c.file)
		}
		_, err := f.tokens(slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), annsSecret) || strings.Contains(err.Error(), bobsSecret) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, err := (webFlags{OperatorTokensFile: filepath.Join(t.TempDir(), "none")}).tokens(nil); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func TestATokensFileThatAllMayReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	file := mustTokensFile(t, 0o644, "ann:"+annsSecret)
	tokens, err := webFlags{OperatorTokensFile: file}.tokens(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || len(tokens) != 1 || !strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), annsSecret) {
		t.Errorf("%d tokens, %v, logged %q", len(tokens), err, log.String())
	}
}
