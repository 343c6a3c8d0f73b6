package envfile

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was written is read again, or was not written.
func FuzzWrite(f *testing.F) {
	f.Add("KEY", "value", "OTHER", "a=b # \"c\"")
	f.Add("A", "", "B", strings.Repeat("x", 100_000))
	f.Add("\u00a0A", "1", "A", "2")
	f.Add("A", "\x00", "A", "\xff")
	path := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, key, value, otherKey, otherValue string) {
		if err := Write(path, []Pair{{key, value}, {otherKey, otherValue}}); err != nil {
			return
		}
		want := map[string]string{key: value}
		want[otherKey] = otherValue
		if got, err := Read(path); err != nil || !maps.Equal(got, want) {
			t.Errorf("read %q, %v; written %q", got, err, want)
		}
	})
}

// Any file is read or refused, and what it says is in no error.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"", "# a\n\n A = 1 \r\nB=2", "A=1\nsecret\n", "=\n", "\xff=\x00", "A=" + strings.Repeat("x", 100_000)} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		values, err := Read(path)
		if err != nil {
			if rest, ours := strings.CutPrefix(err.Error(), path+", line "); !ours || strings.Trim(rest, "0123456789") != ": not of the form KEY=VALUE" {
				t.Errorf("error is %q", err)
			}
			return
		}
		for key, value := range values {
			if !strings.Contains(text, key) || !strings.Contains(text, value) || strings.TrimSpace(value) != value {
				t.Errorf("%q: %q is not in %q", key, value, text)
			}
		}
	})
}
