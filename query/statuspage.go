package query

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

// statusView is what pages/status.html reads.
type statusView struct {
	frame
	Fit    bool
	Checks []checkLine
	Kept   bool // the balance is
	Away   bool // and the database does not say it
	Tiles  []tile

	Generation, Schema string // empty while they are not known
	Orders, LeftOut    int    // in memory, and not
	Position           int64  // up to which they are read
	Lag                *static.Count
}

// checkLine is a check and its outcome.
type checkLine struct {
	Name   string
	OK     bool
	Detail string
}

// tile is a number of the balance, which follows the events under its name there.
type tile struct {
	Name   string
	Text   *static.Text
	N      int64
	Rising bool // its rate is told as well
}

// statusPage shows how the service is: its checks, the balance, and what it serves.
func (s *Server) statusPage(w http.ResponseWriter, r *http.Request) error {
	checks, cache := s.check(r.Context())
	view := statusView{frame: s.frame(r, static.Say("Status")), Fit: cache.OK, Kept: s.o.Stats != nil, Orders: cache.Orders, LeftOut: cache.LeftOut, Position: cache.Position}
	view.Checks = []checkLine{{"cache", cache.OK, cache.Detail}}
	for name, outcome := range checks {
		view.Fit = view.Fit && outcome.OK
		view.Checks = append(view.Checks, checkLine{name, outcome.OK, outcome.Detail})
	}
	slices.SortFunc(view.Checks, func(a, b checkLine) int { return cmp.Compare(a.Name, b.Name) })
	if cache.Lag != nil {
		view.Lag = &static.Count{N: *cache.Lag, Noun: "message"}
	}
	var err error
	if checks["database"].OK {
		if view.Generation, view.Schema, err = s.inService(r.Context()); err != nil {
			return err
		}
	}
	if view.Kept {
		if view.Tiles, err = s.tiles(r.Context()); err != nil {
			return err
		}
		view.Away = view.Tiles == nil
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.writePage(w, r, http.StatusOK, "status", view)
}

// tiles are the balance; nil while the database does not say it.
func (s *Server) tiles(ctx context.Context) ([]tile, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	b, err := s.o.Stats(ctx)
	if err != nil {
		if asProblem(err).Status == http.StatusServiceUnavailable {
			return nil, nil
		}
		return nil, err
	}
	return []tile{
		{"received", static.Say("Received"), b.Received, true},
		{"orders", static.Say("Orders"), b.Orders, true},
		{"duplicates", static.Say("Duplicates"), b.Duplicates, true},
		{"dead_letters", static.Say("Dead letters"), b.DeadLetters, true},
		{"pending", static.Say("Pending"), b.Pending, false},
		{"missing", static.Say("Missing"), b.Missing, false},
	}, nil
}

const readSchemaInForceSQL = `
select version
from schemas
order by id desc
limit 1`

// inService returns the generation that is read and the version of the schema in force; empty for none.
func (s *Server) inService(ctx context.Context) (name, schema string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err = inGeneration(ctx, s.primary, func(tx pgx.Tx, g generation) error {
		name = g.name
		err := tx.QueryRow(ctx, readSchemaInForceSQL).Scan(&schema)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if errors.Is(err, errNoGeneration) || err != nil && databaseAway(err) {
		return name, schema, nil
	}
	return name, schema, err
}
