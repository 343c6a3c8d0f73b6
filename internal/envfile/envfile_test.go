package envfile

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestReadGivesWhatWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "env")
	for _, pairs := range [][]Pair{
		{{"ORDERBOX_DATABASE_URL", "postgres://u:p@127.0.0.1:5432/orderbox?sslmode=disable"}, {"EMPTY", ""}, {"ODD", `a=b # "c" 'd'`}},
		{{"ORDERBOX_URL", "http://127.0.0.1:8080"}}, // replaces everything
	} {
		if err := Write(path, pairs); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, p := range pairs {
			want[p.Key] = p.Value
		}
		got, err := Read(path)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("read %v, %v, want %v", got, err, want)
		}
	}
}

func TestOnlyTheOwnerReadsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "env")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // one that was there before does not decide
		t.Fatal(err)
	}
	if err := Write(path, []Pair{{"KEY", "value"}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMissingFileHoldsNothing(t *testing.T) {
	t.Parallel()
	got, err := Read(filepath.Join(t.TempDir(), "env"))
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestReadIsPlain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "env")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment\n\n  A = 1 \r\nB=\"2\"\nA=3")
	got, err := Read(path)
	if want := map[string]string{"A": "3", "B": `"2"`}; err != nil || !maps.Equal(got, want) {
		t.Errorf("read %v, %v, want %v", got, err, want)
	}
	write("A=1\nsecret\n")
	if _, err := Read(path); err == nil || err.Error() != path+", line 2: not of the form KEY=VALUE" {
		t.Errorf("error is %v", err)
	}
}

func TestWriteRefusesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, p := range []Pair{{"", "v"}, {"A B", "v"}, {"A=B", "v"}, {"#A", "v"}, {"A", "v\nB=w"}, {"A", "v "}} {
		if err := Write(filepath.Join(dir, "env"), []Pair{p}); err == nil {
			t.Errorf("wrote %q", p)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
