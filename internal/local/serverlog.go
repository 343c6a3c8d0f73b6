package local

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxLogBytes is the size from which a log is put aside at the next start; one predecessor is kept.
const maxLogBytes = 8 << 20

// serverLog is the file that a server process writes its log to.
type serverLog struct {
	path  string
	file  *os.File
	start int64 // where this run's lines begin
}

func openServerLog(path string) (*serverLog, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("put PostgreSQL's log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &serverLog{path: path, file: file, start: info.Size()}, nil
}

// tail is the last lines of this run in one, for an error.
func (l *serverLog) tail() string {
	const lines, maxBytes = 4, 4 << 10
	info, err := l.file.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(l.start, info.Size()-maxBytes)
	text, err := io.ReadAll(io.NewSectionReader(l.file, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := strings.Join(all[max(0, len(all)-lines):], " | ")
	if last == "" {
		return "it logged nothing"
	}
	return last
}
