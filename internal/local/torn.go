package local

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A process that is killed while it writes leaves a torn record at the end of a file, and a STAN server
// does not start on one. The server's own remedy (TruncateUnexpectedEOF) works at every other start
// only, and cuts the index instead of the data when a slice's first write was torn, after which messages
// that are confirmed later cannot be read. So the files are cut here, before the server opens them.
//
// Nothing confirmed is lost: the server confirms a message after its data and then its index are synced,
// so what the index does not cover, or what is no whole record, was never confirmed.
//
// The format (version 1, little endian): 4 bytes version; then records of a 4-byte size, in files of
// typed records with the type in the highest byte, a 4-byte CRC and the payload. An index (msgs.N.idx)
// has records of 32 bytes: sequence 8, offset 8, timestamp 8, size 4, CRC of these 4.
const (
	versionBytes      = 4
	recordHeaderBytes = 8
	indexRecordBytes  = 32
)

// cutTornTails removes from the files of the STAN store in dir what a crash left unfinished.
func cutTornTails(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, "msgs.") && strings.HasSuffix(name, ".dat"):
			err = cutMessages(path)
		case strings.HasPrefix(name, "msgs.") && strings.HasSuffix(name, ".idx"):
			err = cutFile(path, size) // the server makes a new one from the data unless it fits
		case name == "subs.dat", name == "clients.dat":
			err = cutFile(path, func(f *os.File) (int64, error) { return wholeRecords(f, 0x00ffffff) })
		case name == "server.dat":
			err = cutFile(path, func(f *os.File) (int64, error) { return wholeRecords(f, 0xffffffff) })
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

// cutMessages cuts a data file to what its index covers, or, where that does not tell, to whole records.
// A whole record beyond the index must go as well: its sequence number will be given again, and an index
// made anew from data with one number twice finds wrong messages.
func cutMessages(path string) error {
	covered := coveredByIndex(strings.TrimSuffix(path, ".dat") + ".idx")
	return cutFile(path, func(f *os.File) (int64, error) {
		if have, err := size(f); err != nil || covered > 0 && covered <= have {
			return covered, err
		}
		return wholeRecords(f, 0xffffffff)
	})
}

// cutFile cuts the file to the length that keep says. One that has not even a version is removed: the
// server would stumble over it, and makes a new one.
func cutFile(path string, keep func(*os.File) (int64, error)) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	have, err := size(file)
	if err != nil {
		return err
	}
	if have < versionBytes {
		return os.Remove(path)
	}
	length, err := keep(file)
	if err != nil || length == have {
		return err
	}
	if err := file.Truncate(length); err != nil {
		return err
	}
	return file.Sync()
}

func size(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// wholeRecords is the length up to the end of the last whole record. Zeros are no record: some file
// systems leave them after a crash of the machine. A checksum that is wrong is left to the server, which
// then refuses to start: that is no torn write but damage.
func wholeRecords(f *os.File, sizeMask uint32) (int64, error) {
	have, err := size(f)
	if err != nil {
		return 0, err
	}
	reader := bufio.NewReaderSize(io.NewSectionReader(f, versionBytes, have-versionBytes), 1<<20)
	length := int64(versionBytes)
	for {
		var header [recordHeaderBytes]byte
		if _, err := io.ReadFull(reader, header[:]); err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return length, nil
		} else if err != nil {
			return 0, err
		}
		if header == [recordHeaderBytes]byte{} {
			return length, nil
		}
		payload := int64(binary.LittleEndian.Uint32(header[:]) & sizeMask)
		if length+recordHeaderBytes+payload > have {
			return length, nil
		}
		if _, err := reader.Discard(int(payload)); err != nil {
			return 0, err
		}
		length += recordHeaderBytes + payload
	}
}

// coveredByIndex is the length of the data up to the end of the last message in the index; 0 when the
// index is missing, empty or itself torn. The server then makes a new one from the data.
func coveredByIndex(path string) int64 {
	index, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer index.Close()
	have, err := size(index)
	if err != nil || have <= versionBytes || (have-versionBytes)%indexRecordBytes != 0 {
		return 0
	}
	var last [indexRecordBytes]byte
	if _, err := index.ReadAt(last[:], have-indexRecordBytes); err != nil {
		return 0
	}
	const summed = indexRecordBytes - crc32.Size
	if crc32.ChecksumIEEE(last[:summed]) != binary.LittleEndian.Uint32(last[summed:]) {
		return 0
	}
	offset, payload := binary.LittleEndian.Uint64(last[8:]), binary.LittleEndian.Uint32(last[24:])
	return int64(offset) + recordHeaderBytes + int64(payload)
}
