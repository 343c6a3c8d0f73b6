package query

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// maxSchema is the largest JSON Schema that is tried.
const maxSchema = 1 << 20

// dryRunByBody begins a dry run by the JSON Schema that is the body, or by this program's.
func (s *Server) dryRunByBody(w http.ResponseWriter, r *http.Request, by string) error {
	schema, err := readBody(w, r, maxSchema)
	if err != nil {
		return err
	}
	if len(schema) == 0 {
		schema = nil
	}
	return s.dryRun(schema, by)
}

// dryRunByForm begins one by the file in the field schema, if one was chosen.
func (s *Server) dryRunByForm(w http.ResponseWriter, r *http.Request, by string) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxSchema+maxForm)
	file, _, err := r.FormFile("schema")
	if errors.Is(err, http.ErrMissingFile) {
		return s.dryRun(nil, by)
	}
	var schema []byte
	if err == nil {
		defer file.Close()
		schema, err = io.ReadAll(file)
	}
	if err != nil {
		return badRequest("The form cannot be read.", "The file is too large for a JSON Schema, or this is not what the page sends.")
	}
	return s.dryRun(schema, by)
}

func (s *Server) dryRun(schema []byte, by string) error {
	run, err := s.o.Replays.Try(schema)
	if refusal, ok := errors.AsType[Refusal](err); ok {
		return badRequest(refusal.Reason, "Choose a file with a JSON Schema (draft 2020-12), such as projector/order.schema.json with a change.")
	}
	if err != nil {
		return err
	}
	return s.tried.start(by, func(ctx context.Context, tell func(func(*report[Change]))) error {
		change, err := run(ctx, func(position, head int64) {
			tell(func(r *report[Change]) { r.Position, r.Head = position, head })
		})
		if err == nil {
			tell(func(r *report[Change]) { r.Result = &change })
		}
		return err
	})
}

func (s *Server) cancelDryRun(http.ResponseWriter, *http.Request, string) error {
	if !s.tried.cancel() {
		return Refusal{"No dry run is under way."}
	}
	return nil
}
