package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"sort"
	"sync"
	"sync/atomic"
)

const (
	// slabBytes is the unit in which a cache takes memory. A larger record gets a slab of its own.
	slabBytes = 4 << 20
	// blockOrders is how many orders one block of the order of positions lists.
	blockOrders = 8192
)

// cache holds the orders of one generation as the bytes that are served: all of them, or with a limit the newest.
//
// An order costs its record, 8 bytes in the order of positions and some 30 in the index. Nothing in there
// is a pointer per order: the garbage collector sees slabs and blocks, and looks into neither.
//
// One goroutine adds; any number read meanwhile, and wait for one order to be listed at most. The bytes
// of a record never change once it is listed.
type cache struct {
	generation generation
	hash       func(uid string) uint64

	position atomic.Int64 // everything up to here has been read
	complete atomic.Bool  // has once read all there was

	mu       sync.RWMutex // guards what follows
	slabs    [][]byte
	index    map[uint64]place // by hash of the uid
	collided map[string]place // the few whose hash was taken
	blocks   [][]place        // in the order of positions, blockOrders in each
	count    int              // of orders that were added
	first    int              // which of them is the oldest that is held
	bytes    int64            // of all slabs

	// Set before anybody reads, but partial.
	slab    int         // bytes of a slab
	limit   int64       // of what is held; 0 is none
	below   int         // orders of the generation that were never added, for they are older than what fits
	partial atomic.Bool // orders are missing at the old end
	fetched *fetched    // what the database was asked for; nil without a limit

	// The writer's alone.
	used int  // bytes of the last slab
	last mark // the order that was read last
}

// mark is an order as the database identifies it. The digest is the one that it keeps and not the one that
// is served: a program that writes orders otherwise than the projector did finds its orders again all the same.
type mark struct {
	position int64 // 0: none
	digest   []byte
}

func (m mark) equal(other mark) bool {
	return m.position == other.position && bytes.Equal(m.digest, other.digest)
}

// place says where a record is: the slab's number above, the offset in it below.
type place uint64

// entry is an order as it is served. The body must not be modified; etag is quoted.
type entry struct {
	position int64
	body     []byte
	etag     string
}

// newCache returns an empty cache for a generation; hash nil stands for a good one.
func newCache(g generation, hash func(uid string) uint64) *cache {
	if hash == nil {
		seed := maphash.MakeSeed()
		hash = func(uid string) uint64 { return maphash.String(seed, uid) }
	}
	return &cache{generation: g, hash: hash, index: map[uint64]place{}, collided: map[string]place{}, slab: slabBytes}
}

// get returns the order with that uid.
func (c *cache) get(uid string) (entry, bool) {
	r, ok := c.find(uid)
	if !ok {
		return entry{}, false
	}
	return r.entry(), true
}

func (c *cache) find(uid string) (record, bool) {
	hash := c.hash(uid)
	c.mu.RLock()
	defer c.mu.RUnlock()
	if at, ok := c.index[hash]; ok {
		if r := c.record(at); r.hasUID(uid) {
			return r, true
		}
	}
	if at, ok := c.collided[uid]; ok {
		return c.record(at), true
	}
	return nil, false
}

// latest returns at most limit orders whose position is below before, newest first; before 0 begins at
// the end. What is not held is not among them.
func (c *cache) latest(before int64, limit int) []entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	end := c.count
	if before > 0 {
		end = c.search(func(r record) bool { return r.position() >= before })
	}
	entries := make([]entry, 0, min(limit, end-c.first))
	for i := end - 1; i >= c.first && len(entries) < limit; i-- {
		entries = append(entries, c.nth(i).entry())
	}
	return entries
}

// after returns the positions of the orders held behind one.
func (c *cache) after(position int64) (positions []int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := c.search(func(r record) bool { return r.position() > position }); i < c.count; i++ {
		positions = append(positions, c.nth(i).position())
	}
	return positions
}

// size returns the number of orders held and the bytes of memory set aside for their records.
func (c *cache) size() (orders int, bytes int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.count - c.first, c.bytes
}

// total returns the number of orders up to the cache's position, held or not.
func (c *cache) total() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.below + c.count
}

// leftOut returns the number of orders up to the cache's position that are not held.
func (c *cache) leftOut() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.below + c.first
}

// add lists an order and takes the cache's position to it. Orders come in the order of their positions;
// one that was read before changes nothing, so a chunk may be read twice.
func (c *cache) add(position int64, uid string, body []byte) {
	if position <= c.position.Load() {
		return
	}
	// Written before it is listed: nobody else looks at that part of the slab, so no lock is held.
	at := c.write(position, uid, body)
	hash := c.hash(uid)

	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.index[hash]; taken {
		c.collided[uid] = at
	} else {
		c.index[hash] = at
	}
	if c.count/blockOrders == len(c.blocks) {
		c.blocks = append(c.blocks, make([]place, 0, blockOrders))
	}
	last := &c.blocks[len(c.blocks)-1]
	*last = append(*last, at)
	c.count++
	c.position.Store(position)
}

// write puts a record into the last slab, or begins another when it does not fit.
func (c *cache) write(position int64, uid string, body []byte) place {
	size := recordHeader + len(uid) + len(body)
	if len(c.slabs) == 0 || c.used+size > len(c.slabs[len(c.slabs)-1]) {
		slab := make([]byte, max(c.slab, size))
		if c.limit > 0 {
			c.makeRoom(int64(len(slab)))
		}
		c.mu.Lock()
		c.slabs = append(c.slabs, slab)
		c.bytes += int64(len(slab))
		c.mu.Unlock()
		c.used = 0
	}
	slab := len(c.slabs) - 1
	at := place(slab)<<32 | place(c.used)
	record(c.slabs[slab][c.used:]).fill(position, uid, body)
	c.used += size
	return at
}

// What follows wants the lock, or to be the writer.

func (c *cache) record(at place) record { return c.slabs[at>>32][uint32(at):] }

// place is where the nth order is, of those that were added. It is held, unless it is before the first.
func (c *cache) place(n int) place { return c.blocks[n/blockOrders][n%blockOrders] }

func (c *cache) nth(n int) record { return c.record(c.place(n)) }

// search returns the first order held for which f is true, as it is for all behind it; count when there is none.
func (c *cache) search(f func(record) bool) int {
	return c.first + sort.Search(c.count-c.first, func(i int) bool { return f(c.nth(c.first + i)) })
}

// record is an order in a slab, which goes on behind it:
//
//	position 8 | digest 16 | length of body 4 | length of uid 4 | uid | body
//
// The uid is there beside the body because the body spells it as JSON does.
type record []byte

const (
	digestBytes  = 16
	recordHeader = 8 + digestBytes + 4 + 4
)

func (r record) fill(position int64, uid string, body []byte) {
	digest := sha256.Sum256(body)
	binary.LittleEndian.PutUint64(r, uint64(position))
	copy(r[8:], digest[:digestBytes])
	binary.LittleEndian.PutUint32(r[24:], uint32(len(body)))
	binary.LittleEndian.PutUint32(r[28:], uint32(len(uid)))
	copy(r[recordHeader:], uid)
	copy(r[recordHeader+len(uid):], body)
}

func (r record) position() int64 { return int64(binary.LittleEndian.Uint64(r)) }

func (r record) uid() string { return string(r[recordHeader:r.uidEnd()]) }

func (r record) uidEnd() int { return recordHeader + int(binary.LittleEndian.Uint32(r[28:])) }

func (r record) hasUID(uid string) bool { return string(r[recordHeader:r.uidEnd()]) == uid }

func (r record) entry() entry {
	begin := r.uidEnd()
	end := begin + int(binary.LittleEndian.Uint32(r[24:]))
	return entry{
		position: r.position(),
		body:     r[begin:end:end],
		etag:     entityTag(r[8 : 8+digestBytes]),
	}
}

// entityTag spells a digest as a strong ETag. Half of a SHA-256 is plenty to tell bodies apart, and half
// as long in every answer.
func entityTag(digest []byte) string {
	var tag [1 + (digestBytes*8+5)/6 + 1]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	base64.RawURLEncoding.Encode(tag[1:], digest)
	return string(tag[:])
}
