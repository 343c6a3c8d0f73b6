package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// piece is a token of a JSON text: a bracket, a key, or a value that has no parts.
type piece struct {
	kind       byte // one of { } [ ], k for a key, v for a value
	start, end int  // in bytes, as it is spelt
	depth      int  // how many objects and arrays it is in
}

func (p piece) opens() bool  { return p.kind == '{' || p.kind == '[' }
func (p piece) closes() bool { return p.kind == '}' || p.kind == ']' }

// part names a value in another one. Pointers would name it as well, but those of one message may be
// thousands of times as long as the message.
type part struct {
	in   int    // the piece that opens the object or the array
	name string // its key, or its number
}

// pieces are the tokens of one JSON value.
type pieces struct {
	all   []piece
	parts map[part]int // where each part begins; of a key that stands twice the last one
}

// maxPieces bounds what is remembered of one message: an order with as many items as the schema allows has
// a fourth of it.
const maxPieces = 100_000

var errNoJSON = errors.New("not one JSON value of a reasonable size")

// takeApart finds the tokens of one JSON value. It takes more for JSON than the projector does: keys that
// stand twice, or any depth.
func takeApart(payload []byte) (pieces, error) {
	found := pieces{parts: make(map[part]int)}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var around []level
	for {
		before := int(d.InputOffset())
		token, err := d.Token()
		ended := len(found.all) > 0 && len(around) == 0
		if err == io.EOF && ended {
			return found, nil
		}
		if err != nil || ended || len(found.all) == maxPieces {
			return pieces{}, errNoJSON
		}
		end := int(d.InputOffset())
		p := piece{kind: 'v', end: end, start: end - len(bytes.TrimLeft(payload[before:end], " \t\r\n,:"))}
		if c, ok := token.(json.Delim); ok {
			p.kind = byte(c)
		}
		if p.closes() {
			around = around[:len(around)-1]
		} else if len(around) > 0 {
			if in := &around[len(around)-1]; in.isKey(token) {
				p.kind = 'k'
			} else {
				found.parts[part{in.opened, in.name}] = len(found.all)
			}
		}
		p.depth = len(around)
		if p.opens() {
			around = append(around, level{opened: len(found.all), object: p.kind == '{'})
		}
		found.all = append(found.all, p)
	}
}

// level is an object or an array that is being read.
type level struct {
	opened int // the piece that did
	object bool
	keyed  bool   // the next token is the value of a key
	name   string // of the part that is being read
	next   int    // the number of an array's next entry
}

// isKey goes on to the next token, and says whether that is a key.
func (l *level) isKey(token json.Token) bool {
	if !l.object {
		l.name = strconv.Itoa(l.next)
		l.next++
		return false
	}
	if l.keyed = !l.keyed; l.keyed {
		l.name, _ = token.(string)
	}
	return l.keyed
}

// locate returns the piece that a JSON Pointer leads to. When it leads nowhere, that is the last one on its
// way, and rest the names that are missing from there.
func (p pieces) locate(pointer string) (at int, rest string) {
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for pointer != "" {
		name, further, more := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
		next, ok := p.parts[part{at, unescape.Replace(name)}]
		if !ok {
			return at, strings.TrimPrefix(pointer, "/")
		}
		if at = next; !more {
			break
		}
		pointer = "/" + further
	}
	return at, ""
}

// at returns the piece at a byte, or the next one behind it; the last one when there is none.
func (p pieces) at(offset int) int {
	for i, piece := range p.all {
		if piece.end > offset {
			return i
		}
	}
	return len(p.all) - 1
}
