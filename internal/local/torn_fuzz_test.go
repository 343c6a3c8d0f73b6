package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A store whose files end anywhere keeps every message that both files have whole, and nothing that is none.
func FuzzTornStore(f *testing.F) {
	f.Add([]byte("one"), []byte("two"), uint16(0), uint16(0), []byte{})
	f.Add([]byte(""), bytes.Repeat([]byte{0}, 300), uint16(5), uint16(1), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("x"), []byte("y"), uint16(20), uint16(33), []byte{1})
	f.Fuzz(func(t *testing.T, first, second []byte, cutData, cutIndex uint16, behind []byte) {
		data, index := []byte{1, 0, 0, 0}, []byte{1, 0, 0, 0}
		ends := []int{len(data)}
		for i, payload := range [][]byte{append([]byte("m"), first...), append([]byte("m"), second...)} { // none is empty: each has its number
			index = append(index, indexRecord(uint64(i+1), uint64(len(data)), uint32(len(payload)))...)
			data = binary.LittleEndian.AppendUint32(data, uint32(len(payload)))
			data = binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(payload))
			data = append(data, payload...)
			ends = append(ends, len(data))
		}
		data, index = data[:max(4, len(data)-int(cutData))], index[:max(4, len(index)-int(cutIndex))]
		whole := 0 // messages in both
		for whole < 2 && ends[whole+1] <= len(data) && versionBytes+(whole+1)*indexRecordBytes <= len(index) {
			whole++
		}
		kept := mustCutOnce(t, map[string][]byte{"msgs.1.dat": append(data, behind...), "msgs.1.idx": index})["msgs.1.dat"]
		if len(kept) < ends[whole] || !bytes.Equal(kept[:ends[whole]], data[:ends[whole]]) {
			t.Fatalf("%d whole messages, %d bytes, were cut to %d", whole, ends[whole], len(kept))
		}
	})
}

func indexRecord(sequence, offset uint64, size uint32) []byte {
	var r []byte
	r = binary.LittleEndian.AppendUint64(r, sequence)
	r = binary.LittleEndian.AppendUint64(r, offset)
	r = binary.LittleEndian.AppendUint64(r, 1)
	r = binary.LittleEndian.AppendUint32(r, size)
	return binary.LittleEndian.AppendUint32(r, crc32.ChecksumIEEE(r))
}

// Files of any bytes are cut or left, once and for all, and never changed otherwise.
func FuzzTornFiles(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 0, 0, 0}, []byte{1, 0})
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x00\x07crc.ab\xff\xff\xff\xff"), append([]byte{1, 0, 0, 0}, indexRecord(1, 4, 2)...))
	f.Add(bytes.Repeat([]byte{0xff}, 40), append([]byte{1, 0, 0, 0}, indexRecord(1, 1<<64-1, 1<<32-1)...))
	f.Add(bytes.Repeat([]byte{0}, 100), append([]byte{1, 0, 0, 0}, indexRecord(1, 1<<63-1, 8)...))
	f.Fuzz(func(t *testing.T, some, other []byte) {
		mustCutOnce(t, map[string][]byte{"msgs.1.dat": some, "msgs.1.idx": other, "subs.dat": some, "clients.dat": other, "server.dat": some, "other": some})
	})
}

// mustCutOnce returns what is left of the files.
func mustCutOnce(t *testing.T, files map[string][]byte) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := make(map[string][]byte)
	for range 2 {
		if err := cutTornTails(dir); err != nil {
			t.Fatal(err)
		}
		for name, before := range files {
			after, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !(errors.Is(err, fs.ErrNotExist) && len(before) < versionBytes) {
				t.Fatalf("%s of %d bytes: %v", name, len(before), err)
			}
			if known, again := left[name]; again && !bytes.Equal(known, after) {
				t.Fatalf("%s was cut to %d bytes, and then to %d", name, len(known), len(after))
			}
			if len(after) > len(before) || !bytes.Equal(after, before[:len(after)]) {
				t.Fatalf("%s changed", name)
			}
			left[name] = after
		}
	}
	return left
}
