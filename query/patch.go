package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
)

// maxOperations bounds a patch, which may be tried on as many messages as maxBulk.
const maxOperations = 100

// patch says how messages are to be amended (RFC 6902).
type patch struct {
	operations jsonpatch.Patch
	options    *jsonpatch.ApplyOptions
}

// parsePatch returns a problem when the text is no patch, or one that could apply to nothing.
func parsePatch(text []byte) (*patch, error) {
	const fix = `Write it like this: [{"op": "replace", "path": "/payment/amount", "value": 1817}]. The operations are add, remove, replace, move, copy and test.`
	operations, err := jsonpatch.DecodePatch(text)
	if err != nil || !jsontext.Value(text).IsValid() {
		return nil, badRequest("The patch is not a JSON Patch (RFC 6902).", fix)
	}
	if len(operations) == 0 || len(operations) > maxOperations {
		return nil, badRequest(fmt.Sprintf("The patch has %d operations, not 1 to %d.", len(operations), maxOperations), fix)
	}
	p := patch{options: jsonpatch.NewApplyOptions()}
	p.options.EscapeHTML = false
	p.options.SupportNegativeIndices = false
	p.options.AccumulatedCopySizeLimit = maxPayload
	for _, o := range operations {
		if problem := wrongWith(o); problem != "" {
			return nil, badRequest(problem, fix)
		}
		p.operations = append(p.operations, o)
		if value := o["value"]; o.Kind() == "test" && (value == nil || string(bytes.TrimSpace(*value)) == "null") {
			// The library takes what is missing for null. Replacing null by null fails where nothing is.
			replace := json.RawMessage(`"replace"`)
			p.operations = append(p.operations, jsonpatch.Operation{"op": &replace, "path": o["path"], "value": value})
		}
	}
	return &p, nil
}

// wrongWith says what is wrong with an operation; nothing when it is well-formed.
func wrongWith(o jsonpatch.Operation) string {
	_, hasValue := o["value"]
	places := []func() (string, error){o.Path}
	switch o.Kind() {
	case "move", "copy":
		places = append(places, o.From)
	case "add", "replace", "test":
		if !hasValue {
			return "An operation " + o.Kind() + " of the patch has no value."
		}
	}
	for _, place := range places {
		if pointer, err := place(); err != nil || pointer != "" && !strings.HasPrefix(pointer, "/") {
			return "A path of the patch is no JSON Pointer, which begins with a slash."
		}
	}
	return ""
}

// apply returns the patched payload, in which what the patch does not touch is spelt as it was, but for white
// space. It says no where the patch does not apply, and of what is not strict JSON: of two values with one
// name the patch would lose one.
func (p *patch) apply(payload []byte) (amended []byte, ok bool) {
	if !jsontext.Value(payload).IsValid() {
		return nil, false
	}
	amended, err := p.operations.ApplyWithOptions(payload, p.options)
	return amended, err == nil && len(amended) <= maxPayload
}

// patched is what a patch makes of the dead letters that it is tried on.
type patched struct {
	passing *int // how many the schema in force would let through; nil when that is not known

	example int64 // one that it applies to; 0 for none
	amended []byte
}

// try notes for each dead letter how large the patch makes it, or that it does not apply. With a judge, it
// counts how many would pass.
func (p *patch) try(ctx context.Context, tx pgx.Tx, letters []standing, judge func(context.Context, [][]byte) (int, error), so *patched) error {
	at, ids := indexed(letters)
	var made [][]byte
	size := 0
	count := func() error {
		passing, err := judge(ctx, made)
		if err != nil {
			return fmt.Errorf("judge %d amendments: %w", len(made), err)
		}
		*so.passing += passing
		made, size = nil, 0
		return nil
	}
	if judge != nil && so.passing == nil {
		so.passing = new(int)
	}
	err := eachPayload(ctx, tx, ids, func(id int64, payload []byte) error {
		amended, ok := p.apply(payload)
		at[id].size, at[id].unpatched = len(amended), !ok
		if !ok {
			return nil
		}
		if so.example == 0 {
			so.example, so.amended = id, amended
		}
		if judge == nil {
			return nil
		}
		if made, size = append(made, amended), size+len(amended); size < chunkBytes {
			return nil
		}
		return count()
	})
	if err == nil && len(made) > 0 {
		err = count()
	}
	return err
}

// amendChunk enters what a patch makes of some dead letters that it was tried on.
func (s *Server) amendChunk(ctx context.Context, by, note string, ids []int64, p *patch) error {
	var positions []int64
	var payloads [][]byte
	err := s.query(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return eachPayload(ctx, tx, ids, func(id int64, payload []byte) error {
			if amended, ok := p.apply(payload); ok {
				positions, payloads = append(positions, id), append(payloads, amended)
			}
			return nil
		})
	})
	if err != nil || len(positions) == 0 {
		return err
	}
	_, err = s.o.Operator.Amend(ctx, by, note, positions, payloads)
	return err
}
