package verify

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Print tells whether two projections are the same: those of the same messages in the same order are, wherever and
// whenever they were built, and those that differ in any row are not. The zero Print is that of no generation at all.
type Print struct {
	// Entries is how many entries of the log have a fate.
	Entries int64
	// Schema are the versions of the schemas that judged, the one from the beginning first and joined by
	// plus signs; empty for a generation from before schemas were kept.
	Schema string
	// Hash is of every row, in 32 hexadecimal digits; empty when there is no generation.
	Hash string
}

// String is the Print in one line: entries, schema and hash.
func (p Print) String() string {
	if p.Hash == "" {
		return "none"
	}
	schema := p.Schema
	if schema == "" {
		schema = "unknown"
	}
	return fmt.Sprintf("%d-%s-%s", p.Entries, schema, p.Hash)
}

// MarshalText makes that line what JSON has of it.
func (p Print) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Those adopted behind the checkpoint have judged nothing yet.
const judgesSQL = `
select s.version
from generations as g
join schemas as s on s.id = g.base
    or s.id > g.base and s.after < (select c.position from checkpoint as c)
where g.name = $1
order by s.id`

// Fingerprint reads the whole projection that is in service, up to its checkpoint, in one snapshot and in
// bounded memory: 80,000 orders a second (BenchmarkFingerprint). It leaves out what depends on the installation: the
// generation's name, when messages were received, and which positions of the log are holes. In place of a position stands the
// entry's place among all that have a fate. So two logs with the same messages in the same order have the same
// fingerprint, whatever was redelivered, rolled back or brought as a copy in between.
func Fingerprint(ctx context.Context, pool *pgxpool.Pool) (Print, error) {
	var p Print
	err := snapshot(ctx, pool, func(tx pgx.Tx, g generation) (err error) {
		if p = (Print{}); g.Name != "" {
			p, err = fingerprint(ctx, tx, g.Name)
		}
		return err
	})
	if err != nil {
		return Print{}, fmt.Errorf("take the fingerprint: %w", err)
	}
	return p, nil
}

func fingerprint(ctx context.Context, tx pgx.Tx, generation string) (p Print, err error) {
	r := reach{from: 1}
	if err := tx.QueryRow(ctx, reachedSQL).Scan(&r.to, &r.decision); err != nil {
		return p, fmt.Errorf("read the checkpoint: %w", err)
	}
	rows, err := tx.Query(ctx, judgesSQL, generation)
	if err != nil {
		return p, err
	}
	versions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return p, err
	}
	places, err := readPlaces(ctx, tx, r.to)
	if err != nil {
		return p, fmt.Errorf("read the positions: %w", err)
	}
	p.Entries, p.Schema = places.entries, strings.Join(versions, "+")

	s, err := openStream(ctx, tx, "fingerprint", generation, r)
	if err != nil {
		return p, err
	}
	var text []byte
	h := sha256.New()
	fmt.Fprintf(h, "orderbox 2\n%d\n%s\n", p.Entries, p.Schema)
	for {
		f, err := s.next(ctx)
		if err != nil {
			return p, err
		}
		if f == nil {
			p.Hash = hex.EncodeToString(h.Sum(nil)[:16])
			return p, nil
		}
		f.place(s, places)
		text = f.appendTo(text[:0], s)
		h.Write(text)
	}
}

// local is the one column that depends on the installation.
const local = "received_at"

// appendTo appends every row so that no two contents give the same bytes: each value with its length
// before it, each row with its table and its number of values.
func (f *fate) appendTo(text []byte, s *stream) []byte {
	for i, rows := range f.rows {
		columns := s.columns(i)
		for _, r := range rows {
			text = append(text, byte(i), byte(len(r)))
			for column, value := range r {
				switch {
				case columns[column] == local:
				case value == nil:
					text = append(text, 0)
				default:
					text = binary.AppendUvarint(text, uint64(len(value))+1)
					text = append(text, value...)
				}
			}
		}
	}
	return text
}
