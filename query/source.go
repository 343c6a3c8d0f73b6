package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// source says where an order comes from.
type source struct {
	OrderUID string        `json:"order_uid"`
	Message  sourceMessage `json:"message"`
	// SchemaVersion is that of the schema which the message passed.
	SchemaVersion string        `json:"schema_version"`
	Values        []sourceValue `json:"values"`
}

// sourceMessage is the message that made the order.
type sourceMessage struct {
	Position   int64     `json:"position"` // in the log
	Source     string    `json:"source"`
	Channel    string    `json:"channel"`
	Sequence   int64     `json:"sequence"`
	StampedAt  time.Time `json:"stamped_at"`
	ReceivedAt time.Time `json:"received_at"`
	// Original is the message that an operator retried or amended to this one.
	Original *int64 `json:"original,omitempty"`
	// Duplicates are the messages of the same content that came later, Conflicts those of other content.
	Duplicates []int64 `json:"duplicates"`
	Conflicts  []int64 `json:"conflicts"`
}

// sourceValue is one value of the order and where it stands in the message. An order keeps its message's
// structure, so the pointer is the same in both.
type sourceValue struct {
	Pointer string          `json:"pointer"`
	Value   json.RawMessage `json:"value"`
}

// orderSource answers with where an order comes from, value by value.
func (s *Server) orderSource(w http.ResponseWriter, r *http.Request) error {
	uid, err := uidOf(r)
	if err != nil {
		return err
	}
	e, err := s.lookupForPage(r.Context(), uid)
	if err != nil {
		return err
	}
	answer, _, err := s.sourceOf(r.Context(), uid, e)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, answer)
}

// sourceOf says where an order comes from, and returns the message.
func (s *Server) sourceOf(ctx context.Context, uid string, e entry) (answer source, payload []byte, err error) {
	answer.OrderUID = uid
	err = s.query(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		answer.Message, answer.SchemaVersion, payload, err = readSource(ctx, tx, uid)
		return err
	})
	if err != nil {
		return source{}, nil, err
	}
	if answer.Values, err = pointTo(nil, "", e.body); err != nil {
		return source{}, nil, fmt.Errorf("point to the values of the order at position %d: %w", e.position, err)
	}
	return answer, payload, nil
}

// A generation's base judges from the beginning, each schema that was adopted later from its place on.
const readSourceSQL = `
select i.position, i.source, i.channel, i.sequence, i.stamped_at, i.received_at, i.payload, i.original,
    array(select d.position from duplicates as d where d.first = o.position order by d.position),
    array(select d.position from dead_letters as d where d.first = o.position order by d.position),
    coalesce((
        select s.version
        from schemas as s
        join generations as g on g.state = 'current'
        where s.id = g.base or s.id > g.base and s.after < o.position
        order by s.id desc
        limit 1), '')
from orders as o
join inbox as i on i.position = o.position
where o.order_uid = $1`

func readSource(ctx context.Context, tx pgx.Tx, uid string) (m sourceMessage, schema string, payload []byte, err error) {
	err = tx.QueryRow(ctx, readSourceSQL, uid).Scan(&m.Position, &m.Source, &m.Channel, &m.Sequence, &m.StampedAt, &m.ReceivedAt,
		&payload, &m.Original, &m.Duplicates, &m.Conflicts, &schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, "", nil, explainNoSource(ctx, tx, uid)
	}
	if err != nil {
		return m, "", nil, fmt.Errorf("read the source of an order: %w", err)
	}
	m.StampedAt, m.ReceivedAt = m.StampedAt.UTC(), m.ReceivedAt.UTC()
	return m, schema, payload, nil
}

const sourceDetachedSQL = `
select exists (
    select
    from orders as o
    join detached as d on o.position between d.first and d.last
    where o.order_uid = $1
)`

// explainNoSource is for an order that the cache holds.
func explainNoSource(ctx context.Context, tx pgx.Tx, uid string) error {
	detached := false
	if err := tx.QueryRow(ctx, sourceDetachedSQL, uid).Scan(&detached); err != nil {
		return fmt.Errorf("read the source of an order: %w", err)
	}
	if detached {
		return errDetached
	}
	return unavailable("The database has just changed its mind about the order.")
}

// pointTo appends every value in a JSON value that has no parts, in their order, with its JSON Pointer. No
// name in an order needs escaping.
func pointTo(values []sourceValue, pointer string, value json.RawMessage) ([]sourceValue, error) {
	switch value[0] {
	case '{':
		return pointIntoObject(values, pointer, value)
	case '[':
		var entries []json.RawMessage
		if err := json.Unmarshal(value, &entries); err != nil {
			return nil, err
		}
		for i, entry := range entries {
			var err error
			if values, err = pointTo(values, pointer+"/"+strconv.Itoa(i), entry); err != nil {
				return nil, err
			}
		}
		return values, nil
	default:
		return append(values, sourceValue{pointer, value}), nil
	}
}

func pointIntoObject(values []sourceValue, pointer string, object json.RawMessage) ([]sourceValue, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var part json.RawMessage
		if err := d.Decode(&part); err != nil {
			return nil, err
		}
		if values, err = pointTo(values, fmt.Sprintf("%s/%s", pointer, name), part); err != nil {
			return nil, err
		}
	}
	return values, nil
}
