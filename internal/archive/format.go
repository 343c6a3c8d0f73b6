package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
	"unicode/utf8"

	strict "github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
)

// Header is the first line of a file.
type Header struct {
	Archive   string    `json:"archive"` // "orderbox inbox"
	Format    int       `json:"format"`
	Partition string    `json:"partition"`
	From      time.Time `json:"from"` // of the stamps, with To as the first one that is too late
	To        time.Time `json:"to"`
}

const (
	archiveOf = "orderbox inbox"
	format    = 1
)

// End is the last line of a file.
type End struct {
	Messages int64 `json:"messages"`
	First    int64 `json:"first"` // position
	Last     int64 `json:"last"`
	// SHA256 is of all lines before, with their line feeds.
	SHA256 string `json:"sha256"`
}

// message is a row of the inbox.
type message struct {
	position, sequence    int64
	source, channel       string
	stampedAt, receivedAt time.Time
	original              *int64
	payload               []byte
}

// line is a message as the file has it, or the end.
type line struct {
	Position      int64     `json:"position,omitzero"`
	Source        string    `json:"source,omitzero"`
	Channel       string    `json:"channel,omitzero"`
	Sequence      int64     `json:"sequence"`
	StampedAt     time.Time `json:"stamped_at,omitzero"`
	ReceivedAt    time.Time `json:"received_at,omitzero"`
	Original      *int64    `json:"original,omitempty"`
	Payload       *string   `json:"payload,omitempty"`
	PayloadBase64 []byte    `json:"payload_base64,omitempty"`
}

func newLine(m message) line {
	l := line{Position: m.position, Source: m.source, Channel: m.channel, Sequence: m.sequence,
		StampedAt: m.stampedAt.UTC(), ReceivedAt: m.receivedAt.UTC(), Original: m.original}
	if utf8.Valid(m.payload) {
		text := string(m.payload)
		l.Payload = &text
	} else {
		l.PayloadBase64 = m.payload
	}
	return l
}

func (l line) message() message {
	m := message{position: l.Position, source: l.Source, channel: l.Channel, sequence: l.Sequence,
		stampedAt: l.StampedAt, receivedAt: l.ReceivedAt, original: l.Original, payload: l.PayloadBase64}
	if l.Payload != nil {
		m.payload = []byte(*l.Payload)
	}
	return m
}

// equal says whether two messages are the same in every column.
func (m message) equal(o message) bool {
	sameOriginal := m.original == nil && o.original == nil || m.original != nil && o.original != nil && *m.original == *o.original
	return m.position == o.position && m.source == o.source && m.channel == o.channel && m.sequence == o.sequence &&
		m.stampedAt.Equal(o.stampedAt) && m.receivedAt.Equal(o.receivedAt) && sameOriginal && bytes.Equal(m.payload, o.payload)
}

// writer writes a file's content.
type writer struct {
	zip  *zstd.Encoder
	json *json.Encoder // into zip and hash
	hash hash.Hash
	end  End
}

func newWriter(w io.Writer, h Header) (*writer, error) {
	// One core and a small window: the rest of the machine is serving.
	zip, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	out := json.NewEncoder(io.MultiWriter(zip, hash))
	out.SetEscapeHTML(false)
	return &writer{zip: zip, json: out, hash: hash}, out.Encode(h)
}

func (w *writer) write(m message) error {
	w.end.add(m)
	return w.json.Encode(newLine(m))
}

// close writes the last line and returns it.
func (w *writer) close() (End, error) {
	w.end.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	err := w.json.Encode(map[string]End{"end": w.end})
	return w.end, errors.Join(err, w.zip.Close())
}

func (e *End) add(m message) {
	if e.Messages == 0 {
		e.First = m.position
	}
	e.Messages++
	e.Last = m.position
}

// ErrDamaged says that a file is not, or not any more, what was written.
var ErrDamaged = errors.New("the archive is damaged")

// reader reads a file's content and judges it: what it returned counts only when next has come to the end.
type reader struct {
	header Header
	zip    *zstd.Decoder
	lines  *bufio.Reader
	hash   hash.Hash
	end    End // as counted
}

func newReader(r io.Reader) (*reader, error) {
	zip, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	a := &reader{zip: zip, lines: bufio.NewReaderSize(zip, 1<<16), hash: sha256.New()}
	text, err := a.line()
	if err == nil {
		err = parse(text, &a.header)
	}
	switch {
	case err != nil || a.header.Archive != archiveOf:
		zip.Close()
		return nil, fmt.Errorf("%w: it does not begin as an archive of a month does", ErrDamaged)
	case a.header.Format != format:
		zip.Close()
		return nil, fmt.Errorf("the archive has format %d, and this program knows %d alone", a.header.Format, format)
	}
	a.hash.Write(text)
	return a, nil
}

func (r *reader) close() { r.zip.Close() }

// line returns the next line with its line feed. No error of this package quotes what is in one.
func (r *reader) line() ([]byte, error) {
	text, err := r.lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: it ends too early, after %d messages", ErrDamaged, r.end.Messages)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: after %d messages: %w", ErrDamaged, r.end.Messages, err)
	}
	return text, nil
}

// parse reads a line that has what v has and nothing else: what this program does not know it would lose.
func parse(text []byte, v any) error {
	if strict.Unmarshal(text, v, strict.RejectUnknownMembers(true)) != nil {
		return fmt.Errorf("%w: a line is not what it should be", ErrDamaged)
	}
	return nil
}

var endBegins = []byte(`{"end":`)

// next returns the next message; io.EOF after the last one, when all of it was as it should be.
func (r *reader) next() (message, error) {
	text, err := r.line()
	if err != nil {
		return message{}, err
	}
	if bytes.HasPrefix(text, endBegins) {
		return message{}, r.finish(text)
	}
	r.hash.Write(text)
	var l line
	if err := parse(text, &l); err != nil {
		return message{}, err
	}
	m := l.message()
	if m.position <= r.end.Last || m.stampedAt.Before(r.header.From) || !m.stampedAt.Before(r.header.To) {
		return message{}, fmt.Errorf("%w: position %d is out of its order or its month", ErrDamaged, m.position)
	}
	r.end.add(m)
	return m, nil
}

// finish compares the last line with what was read. It returns io.EOF when they agree.
func (r *reader) finish(text []byte) error {
	var last struct {
		End End `json:"end"`
	}
	if err := parse(text, &last); err != nil {
		return err
	}
	r.end.SHA256 = hex.EncodeToString(r.hash.Sum(nil))
	if last.End != r.end {
		return fmt.Errorf("%w: it holds other messages than its last line says", ErrDamaged)
	}
	if _, err := r.lines.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something stands behind its end", ErrDamaged)
	}
	return io.EOF
}
