package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"orderbox/publisher"
)

func mustUnzip(t *testing.T, name string) []byte {
	t.Helper()
	zip, err := zstd.NewReader(bytes.NewReader(mustReadFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	defer zip.Close()
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustZip(t *testing.T, dir string, text []byte) (name string) {
	t.Helper()
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(dir, "zipped")
	if err := os.WriteFile(name, zip.EncodeAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What any program that knows zstd and JSON finds is every message, byte for byte.
func TestAnArchiveIsReadWithoutThisProgram(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var want []string
	rows, err := h.admin.Query(t.Context(), `select payload from inbox_2025_03 order by position`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var payload []byte
		if err := rows.Scan(&payload); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(payload))
	}
	m, _ := h.mustArchive(t, "inbox_2025_03")
	lines := strings.Split(strings.TrimSuffix(string(mustUnzip(t, m.File)), "\n"), "\n")
	if len(lines) != perMonth+2 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines[1 : perMonth+1] {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		payload, ok := row["payload"].(string)
		if !ok {
			coded, _ := row["payload_base64"].(string)
			raw, err := base64.StdEncoding.DecodeString(coded)
			if err != nil {
				t.Fatal(err)
			}
			payload = string(raw)
		}
		if row["position"] != float64(i+1) || row["source"] != "stan" || row["channel"] != "orders" || payload != want[i] {
			t.Errorf("line %d is %v", i+2, row["position"])
		}
	}
}

// The hash is of what the file says, not of how that was compressed: it may be compressed again, and nothing in it changed.
func TestOnlyWhatAFileSaysCounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m, _ := h.mustArchive(t, "inbox_2025_03")
	text := mustUnzip(t, m.File)
	lines := bytes.SplitAfter(text, []byte("\n"))
	for what, changed := range map[string][]byte{
		"another payload":     bytes.Replace(text, []byte("RUB"), []byte("USD"), 1),
		"a line less":         bytes.Replace(text, lines[17], nil, 1),
		"a line twice":        bytes.Replace(text, lines[17], append(bytes.Clone(lines[17]), lines[17]...), 1),
		"lines changed over":  bytes.Replace(text, append(bytes.Clone(lines[17]), lines[18]...), append(bytes.Clone(lines[18]), lines[17]...), 1),
		"another name":        bytes.Replace(text, []byte("inbox_2025_03"), []byte("inbox_2025_04"), 1),
		"a column more":       bytes.Replace(text, []byte(`"channel"`), []byte(`"more":1,"channel"`), 1),
		"a line that is none": bytes.Replace(text, lines[17], []byte("{\n"), 1),
		"no end":              bytes.Replace(text, lines[perMonth+1], nil, 1),
		"nothing":             nil,
		"something else":      []byte("{}\n"),
	} {
		if bytes.Equal(changed, text) {
			t.Fatalf("%s: nothing was changed", what)
		}
		_, err := Restore(t.Context(), h.owner, mustZip(t, h.dir, changed), ignored)
		if !errors.Is(err, ErrDamaged) && !(what == "another name" && errors.Is(err, ErrInLog)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	newer := bytes.Replace(text, []byte(`"format":1`), []byte(`"format":2`), 1)
	if _, err := Restore(t.Context(), h.owner, mustZip(t, h.dir, newer), ignored); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a format of later: %v", err)
	}
	h.mustRestore(t, mustZip(t, h.dir, text))
	h.mustAddUp(t)
}

// BenchmarkFile writes messages to a file and reads them back.
func BenchmarkFile(b *testing.B) {
	messages := manyMessages(20_000)
	var file bytes.Buffer
	var plain int64
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			w, err := newWriter(&file, Header{Archive: archiveOf, Format: format, From: firstMonth, To: firstMonth.AddDate(0, 1, 0)})
			if err != nil {
				b.Fatal(err)
			}
			plain = 0
			for _, m := range messages {
				plain += int64(len(m.payload))
				if err := w.write(m); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := w.close(); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(plain)
		b.ReportMetric(float64(file.Len())/float64(len(messages)), "B/message")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			r, err := newReader(bytes.NewReader(file.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = r.next()
			}
			if r.close(); !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
		b.SetBytes(plain)
	})
}

func manyMessages(n int) (messages []message) {
	for m := range publisher.Messages(1, n, 0.1) {
		i := int64(len(messages) + 1)
		stamp := firstMonth.Add(time.Duration(i) * 7919 * time.Microsecond)
		messages = append(messages, message{position: i, sequence: i, source: "stan", channel: "orders", stampedAt: stamp,
			receivedAt: stamp.Add(1234 * time.Microsecond), payload: m.Payload})
	}
	return messages
}
