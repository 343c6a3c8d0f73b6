package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
)

// maxMessage is more than any NATS server takes (64 MiB, and 1 MiB by default): what is larger is not
// even read. What is smaller and still too large the broker says itself.
const maxMessage = 64 << 20

// source is the messages of files, directories and standard input.
type source struct {
	names   []string // none is standard input
	stdin   io.Reader
	log     *slog.Logger
	skipped int64 // to be read after the last message
}

// messages yields the sources in the order of their names, read one at a time, and ends with the first
// one that cannot be read.
func (s *source) messages() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		names := s.names
		if len(names) == 0 {
			names = []string{"-"}
		}
		for _, name := range names {
			if !s.one(name, yield) {
				return
			}
		}
	}
}

func (s *source) one(name string, yield func([]byte, error) bool) bool {
	if name == "-" {
		return s.lines(yield)
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return yield(nil, err)
	case info.IsDir():
		entries, err := os.ReadDir(name) // in the order of their names
		if err != nil {
			return yield(nil, err)
		}
		for _, entry := range entries {
			if filepath.Ext(entry.Name()) == ".json" && !s.file(filepath.Join(name, entry.Name()), yield) {
				return false
			}
		}
		return true
	default:
		return s.file(name, yield)
	}
}

func (s *source) file(name string, yield func([]byte, error) bool) bool {
	file, err := os.Open(name)
	if err != nil {
		return yield(nil, err)
	}
	defer file.Close()
	payload, err := io.ReadAll(io.LimitReader(file, maxMessage+1))
	if err != nil {
		return yield(nil, err)
	}
	if len(payload) > maxMessage {
		s.skip(name)
		return true
	}
	return yield(payload, nil)
}

// lines yields each line without its line feed and otherwise as it is; an empty one is no message.
func (s *source) lines(yield func([]byte, error) bool) bool {
	reader := bufio.NewReaderSize(s.stdin, 1<<16)
	for number := 1; ; number++ {
		line, tooLong, err := readLine(reader)
		switch {
		case tooLong:
			s.skip(fmt.Sprintf("line %d", number))
		case len(line) > 0 && !yield(line, nil):
			return false
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return yield(nil, fmt.Errorf("read line %d: %w", number, err))
		}
	}
}

// readLine reads up to and including the next line feed, which it leaves out. Of a line longer than
// maxMessage it keeps nothing.
func readLine(reader *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := reader.ReadSlice('\n')
		ended := bytes.HasSuffix(part, []byte("\n"))
		if part = bytes.TrimSuffix(part, []byte("\n")); tooLong || len(line)+len(part) > maxMessage {
			line, tooLong = nil, true
		} else {
			line = append(line, part...)
		}
		if ended || !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

func (s *source) skip(what string) {
	s.skipped++
	s.log.Warn("left out: no broker takes so large a message", "source", what, "most_bytes", maxMessage)
}
