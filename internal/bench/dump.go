package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"orderbox/internal/bench/world"
)

// dump is every order of a service as it is served, in one piece of memory.
type dump struct {
	uids   []string
	slab   []byte // of each order the entity tag and the body
	places map[key]place
}

// key is an order_uid of a generated order. Neither it nor place is or holds a pointer: there is nothing in the map
// that the garbage collector would look at.
type key [24]byte

func keyOf(uid string) (k key) {
	copy(k[:], uid)
	return k
}

type place struct{ at, body, end uint32 }

// bodies are the bytes of JSON in all.
func (d *dump) bodies() (n int) {
	for _, p := range d.places {
		n += int(p.end - p.body)
	}
	return n
}

// dumpOf reads the orders of a service from its lists.
func dumpOf(ctx context.Context, s *world.Service) (*dump, error) {
	d := &dump{places: map[key]place{}}
	for after := ""; ; {
		code, body, err := world.Get(ctx, s.URL+"/api/v1/orders?limit=100"+after)
		if err != nil || code != http.StatusOK {
			return nil, errors.Join(err, fmt.Errorf("list orders: status %d", code))
		}
		var page struct {
			Orders []json.RawMessage
			Next   *string
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("list orders: %w", err)
		}
		for _, order := range page.Orders {
			if err := d.add(order); err != nil {
				return nil, err
			}
		}
		if page.Next == nil {
			return d, nil
		}
		after = "&after=" + *page.Next
	}
}

func (d *dump) add(body []byte) error {
	// It is first in every order, and the generated ones need no escapes.
	rest, ok := bytes.CutPrefix(body, []byte(`{"order_uid":"`))
	uid, _, found := bytes.Cut(rest, []byte(`"`))
	if !ok || !found || len(uid) > len(key{}) {
		return errors.New("an order in the list does not begin with a generated order_uid")
	}
	digest := sha256.Sum256(body)
	p := place{at: uint32(len(d.slab))}
	d.slab = fmt.Appendf(d.slab, "%q", base64.RawURLEncoding.EncodeToString(digest[:16]))
	p.body = uint32(len(d.slab))
	d.slab = append(d.slab, body...)
	p.end = uint32(len(d.slab))
	d.uids = append(d.uids, string(uid))
	d.places[keyOf(string(uid))] = p
	return nil
}

func (d *dump) order(uid string) (tag, body []byte, ok bool) {
	p, ok := d.places[keyOf(uid)]
	return d.slab[p.at:p.body], d.slab[p.body:p.end], ok
}
