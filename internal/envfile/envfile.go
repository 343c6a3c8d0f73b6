// Package envfile writes and reads the file .orderbox/env, by which `orderbox up` tells the other
// commands where its servers are.
//
// In: ordered pairs from `up`. Out: the same as a map.
//
// Laws kept here: only the file's owner can read it, for it holds passwords; a reader sees the old file
// or the new one, never half of one.
//
// Concurrency: any number of readers and writers, in any processes; the last writer wins.
//
// Not here: which of flags, environment and this file beats which (internal/cli).
package envfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Pair is one line, KEY=VALUE.
type Pair struct {
	Key, Value string
}

// Write replaces the file at path by the pairs, in their order. The directory must be there. A key that
// is empty, or holds white space, '=' or '#', and a value that Read would not give back (a line break,
// white space at an end) are errors.
func Write(path string, pairs []Pair) (err error) {
	var text strings.Builder
	text.WriteString("# Written by `orderbox up` at each start, which keeps the channel and the token.\n")
	for _, p := range pairs {
		if p.Key == "" || strings.ContainsAny(p.Key, "=#") || strings.ContainsFunc(p.Key, unicode.IsSpace) {
			return fmt.Errorf("write %s: %q cannot be a key", path, p.Key)
		}
		if strings.ContainsAny(p.Value, "\r\n") || p.Value != strings.TrimSpace(p.Value) {
			return fmt.Errorf("write %s: the value of %s has a line break, or white space at an end", path, p.Key)
		}
		fmt.Fprintf(&text, "%s=%s\n", p.Key, p.Value)
	}

	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(text.String())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}

// Read returns what the file at path holds; a file that is not there holds nothing. Lines are
// KEY=VALUE, empty, or begin with '#'; white space around a key or a value is no part of it, and
// quotes mean nothing. Of two lines with one key the last counts.
func Read(path string) (map[string]string, error) {
	values := map[string]string{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return values, nil
	}
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			// The line itself stays out of the error: it may be half a password.
			return nil, fmt.Errorf("%s, line %d: not of the form KEY=VALUE", path, number)
		}
		values[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return values, nil
}
