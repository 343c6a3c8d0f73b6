package query

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox"
	"orderbox/internal/testservers"
	"orderbox/sql"
	"orderbox/static"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// projection is a database with generations made by hand, for this package does not know the projector.
type projection struct {
	testservers.DB
	pool       *pgxpool.Pool
	generation string // the current one
}

// newProjection returns a database whose current generation is g1, without orders.
func newProjection(tb testing.TB) *projection {
	tb.Helper()
	p := newEmptyDatabase(tb)
	p.mustCreateGeneration(tb, "g1", stateBuilding)
	p.mustSwitch(tb, "g1")
	return p
}

// newEmptyDatabase returns one where no projector ever ran.
func newEmptyDatabase(tb testing.TB) *projection {
	tb.Helper()
	db := testservers.Database(tb)
	return &projection{DB: db, pool: testservers.Open(tb, db.ServiceURL, 4)}
}

// mustCreateGeneration makes the tables of a generation. One in the state trial is not to be read.
func (p *projection) mustCreateGeneration(tb testing.TB, name, state string) {
	tb.Helper()
	p.mustTx(tb, name, func(tx pgx.Tx) error {
		if _, err := tx.Exec(tb.Context(), `create schema `+name); err != nil {
			return err
		}
		if _, err := tx.Exec(tb.Context(), sql.Generation); err != nil {
			return err
		}
		_, err := tx.Exec(tb.Context(), `insert into generations (name, fingerprint, state) values ($1, 'test', $2)`, name, state)
		return err
	})
}

// mustSwitch puts a generation in service as the projector does it: the one that was is the previous one
// then, and the one before that is dropped beforehand.
func (p *projection) mustSwitch(tb testing.TB, name string) {
	tb.Helper()
	p.mustDrop(tb, "previous")
	p.generation = name
	p.mustTx(tb, name, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`update generations set state = 'previous' where state = 'current'`)
		batch.Queue(`update generations set state = 'current' where name = $1`, name)
		batch.Queue(`notify ` + projectionChannel)
		return tx.SendBatch(tb.Context(), batch).Close()
	})
}

// mustDrop drops the generation in a state, if there is one.
func (p *projection) mustDrop(tb testing.TB, state string) {
	tb.Helper()
	p.mustTx(tb, "public", func(tx pgx.Tx) error {
		var name string
		err := tx.QueryRow(tb.Context(), `delete from generations where state = $1 returning name`, state).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = tx.Exec(tb.Context(), `drop schema `+name+` cascade`)
		}
		return err
	})
}

// mustTx runs f with a generation's tables.
func (p *projection) mustTx(tb testing.TB, generation string, f func(tx pgx.Tx) error) {
	tb.Helper()
	err := pgx.BeginFunc(tb.Context(), p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(tb.Context(), `select set_config('search_path', $1 || ', public', true)`, generation); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// mustReceive puts a message into the inbox.
func (p *projection) mustReceive(tb testing.TB, payload []byte) (position int64) {
	tb.Helper()
	err := p.pool.QueryRow(tb.Context(), `
		insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'orders', coalesce(max(position), 0) + 1, '2026-11-20 10:20:30.123456+00', $1
		from inbox
		returning position`, payload).Scan(&position)
	if err != nil {
		tb.Fatal(err)
	}
	return position
}

// mustProject receives an order and writes it into the current generation; nobody is notified.
func (p *projection) mustProject(tb testing.TB, o orderbox.Order) (position int64) {
	tb.Helper()
	position = p.mustReceive(tb, o.JSON())
	p.mustWrite(tb, p.generation, position, o)
	return position
}

// mustWrite writes an order into a generation's tables and moves the checkpoint to it.
func (p *projection) mustWrite(tb testing.TB, generation string, position int64, o orderbox.Order) {
	tb.Helper()
	p.mustTx(tb, generation, func(tx pgx.Tx) error { return write(tb.Context(), tx, position, o) })
}

// write does it in a transaction that has chosen the tables.
func write(ctx context.Context, tx pgx.Tx, position int64, o orderbox.Order) error {
	batch := &pgx.Batch{}
	digest := sha256.Sum256(o.JSON())
	batch.Queue(`insert into orders values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::timestamptz, $12, $13)`,
		position, o.OrderUID, digest[:], o.TrackNumber, o.Entry, o.Locale, o.InternalSignature, o.CustomerID,
		o.DeliveryService, o.ShardKey, o.SmID, o.DateCreated, o.OofShard)
	d, y := o.Delivery, o.Payment
	batch.Queue(`insert into deliveries values ($1, $2, $3, $4, $5, $6, $7, $8)`,
		position, d.Name, d.Phone, d.Zip, d.City, d.Address, d.Region, d.Email)
	batch.Queue(`insert into payments values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		position, y.Transaction, y.RequestID, y.Currency, y.Provider, y.Amount, y.PaymentDT, y.Bank, y.DeliveryCost,
		y.GoodsTotal, y.CustomFee)
	for line, i := range o.Items {
		batch.Queue(`insert into items values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			position, line+1, i.ChrtID, i.TrackNumber, i.Price, i.RID, i.Name, i.Sale, i.Size, i.TotalPrice, i.NmID,
			i.Brand, i.Status)
	}
	batch.Queue(`update checkpoint set position = $1, orders = orders + 1`, position)
	return tx.SendBatch(ctx, batch).Close()
}

// mustRefuse receives a message and makes it a dead letter.
func (p *projection) mustRefuse(tb testing.TB, payload []byte, reason, violations string, first *int64) (position int64) {
	tb.Helper()
	position = p.mustReceive(tb, payload)
	p.mustTx(tb, p.generation, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`insert into reasons (code, sentence, help) values ($1, 'A sentence.', 'Some help.') on conflict do nothing`, reason)
		batch.Queue(`insert into dead_letters (position, reason, sentence, violations, schema_version, first, received_at)
			select position, $2, 'What is wrong.', $3::text::jsonb, 'v1', $4, received_at from inbox where position = $1`, position, reason, violations, first)
		batch.Queue(`update checkpoint set position = $1, dead_letters = dead_letters + 1`, position)
		return tx.SendBatch(tb.Context(), batch).Close()
	})
	return position
}

func (p *projection) mustNotify(tb testing.TB) {
	tb.Helper()
	if _, err := p.pool.Exec(tb.Context(), `notify `+projectionChannel); err != nil {
		tb.Fatal(err)
	}
}

// mustModel returns the reference order under another id.
func mustModel(tb testing.TB, uid string) orderbox.Order {
	tb.Helper()
	var o orderbox.Order
	text, err := os.ReadFile("../publisher/model.json")
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		tb.Fatal(err)
	}
	o.OrderUID = uid
	return o
}

// newServer returns a stage over the projection that is not running yet, with a short poll interval
// unless the options say otherwise.
func newServer(tb testing.TB, p *projection, o Options) *Server {
	tb.Helper()
	if o.Poll == 0 {
		o.Poll = 20 * time.Millisecond
	}
	s, err := New(testservers.Open(tb, p.ServiceURL, 4), o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// mustRead takes one chunk into the cache of a stage that is not running.
func mustRead(tb testing.TB, s *Server) (more bool) {
	tb.Helper()
	more, err := s.follower.read(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return more
}

// mustReadAll takes all there is.
func mustReadAll(tb testing.TB, s *Server) {
	tb.Helper()
	for mustRead(tb, s) {
	}
}

// mustRun runs a stage until the test ends, and returns when it has caught up.
func mustRun(tb testing.TB, s *Server) {
	tb.Helper()
	mustBegin(tb, s)
	testservers.Eventually(tb, "the cache is filled", func() bool { return s.cache().complete.Load() })
}

// mustBegin runs a stage until the test ends.
func mustBegin(tb testing.TB, s *Server) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// newRunning returns a stage over the projection that has caught up.
func newRunning(tb testing.TB, p *projection, o Options) *Server {
	tb.Helper()
	s := newServer(tb, p, o)
	mustRun(tb, s)
	return s
}

// get asks a stage for a path, as it is written; header is name and value in turn.
func get(tb testing.TB, s *Server, path string, header ...string) *http.Response {
	tb.Helper()
	return do(tb, s, http.MethodGet, path, header...)
}

// do asks from an address of its own.
func do(tb testing.TB, s *Server, method, path string, header ...string) *http.Response {
	tb.Helper()
	return doFrom(tb, s, newAddress(), method, path, header...)
}

var addresses atomic.Uint32

func newAddress() string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+addresses.Add(1)))), 1).String()
}

func doFrom(tb testing.TB, s *Server, address, method, path string, header ...string) *http.Response {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, path, nil)
	r.RemoteAddr = address
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(tb, s, r, "")
}

// english is what a page says.
func english(tb testing.TB, v any) string {
	tb.Helper()
	text, err := static.English.Text(v)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// body returns an answer's body after checking its status.
func body(tb testing.TB, status int, r *http.Response) []byte {
	tb.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if r.StatusCode != status {
		tb.Fatalf("status %d, want %d: %s", r.StatusCode, status, b)
	}
	return b
}

// mustDecode decodes the body of an answer after checking its status.
func mustDecode[T any](tb testing.TB, status int, r *http.Response) (v T) {
	tb.Helper()
	b := body(tb, status, r)
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatalf("%v in %s", err, b)
	}
	return v
}
