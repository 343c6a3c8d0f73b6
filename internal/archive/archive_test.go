package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/projector"
	"orderbox/publisher"
	"orderbox/sql"
)

func TestMain(m *testing.M) {
	if os.Getenv(killAt) != "" {
		beKilled()
	}
	testservers.Main(m)
}

// house is a database with messages of three months, all of them projected.
type house struct {
	testservers.DB
	pool, admin *pgxpool.Pool
	box         *inbox.Inbox
	owner       *pgx.Conn
	dir         string
}

const perMonth = 150

var firstMonth = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

// newHouse is a log of the months 2025_03 to 2025_05, among whose messages are some that are no text.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := newEmptyHouse(t)
	for month := range 3 {
		from := firstMonth.AddDate(0, month, 0)
		h.mustExec(t, fmt.Sprintf(`create table %[1]s partition of inbox for values from ('%[2]s') to ('%[3]s'); alter table %[1]s owner to orderbox_owner`,
			from.Format(nameLayout), from.Format(time.RFC3339), from.AddDate(0, 1, 0).Format(time.RFC3339)))
	}
	h.fill(t)
	return h
}

func newEmptyHouse(t *testing.T) *house {
	t.Helper()
	h := &house{DB: testservers.Database(t), dir: t.TempDir()}
	h.pool, h.admin = testservers.Open(t, h.ServiceURL, 8), testservers.Open(t, h.AdminURL, 2)
	h.box = inbox.New(h.pool, nil)
	h.owner = h.connect(t)
	return h
}

// connect is a connection as Archive and Restore want it.
func (h *house) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := sql.ConnectOwner(t.Context(), h.AdminURL, databaseOf(h.AdminURL), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func databaseOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // of testservers' making
	}
	return strings.TrimPrefix(u.Path, "/")
}

// fill makes the messages, and a retry of the first of them in the month after it.
func (h *house) fill(t *testing.T) {
	t.Helper()
	payloads := [][]byte{nil, {0}, []byte("\x00\xff"), []byte("Привет <&> \u2028"), bytes.Repeat([]byte{0xfe}, 300_000), []byte(`"\u0000"`)}
	for m := range publisher.Messages(21, 3*perMonth-len(payloads), 0.2) {
		payloads = append(payloads, m.Payload)
	}
	var batch []inbox.Message
	for i, payload := range payloads {
		stamp := firstMonth.AddDate(0, i/perMonth, 0).Add(time.Duration(i)*time.Minute + 123456*time.Microsecond)
		batch = append(batch, inbox.Message{Source: inbox.SourceSTAN, Channel: "orders", Sequence: int64(i + 1), StampedAt: stamp, Payload: payload})
	}
	if _, err := h.box.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := h.box.Retry(t.Context(), "ann", "", []int64{2}); err != nil {
		t.Fatal(err)
	}
	h.mustProject(t)
}

func (h *house) mustExec(t *testing.T, statement string) {
	t.Helper()
	if _, err := h.admin.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// mustProject runs a projector until everything has a verdict.
func (h *house) mustProject(t *testing.T) {
	t.Helper()
	p, err := projector.New(h.pool, h.box, projector.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	testservers.Eventually(t, "everything is projected", func() bool {
		b, err := verify.Stats(t.Context(), h.pool)
		return err == nil && b.Pending == 0 && b.Checkpoint > 0
	})
}

func (h *house) mustMonth(t *testing.T, partition string) Month {
	t.Helper()
	months, err := Months(t.Context(), h.owner)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Find(months, partition)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ignored(string, int64, int64) {}

// mustArchive archives a month and returns it.
func (h *house) mustArchive(t *testing.T, partition string) (Month, End) {
	t.Helper()
	m := h.mustMonth(t, partition)
	if m.WhyNot != "" {
		t.Fatalf("%s: %s", partition, m.WhyNot)
	}
	end, err := Archive(t.Context(), h.owner, &m, h.dir, ignored)
	if err != nil {
		t.Fatal(err)
	}
	return m, end
}

func (h *house) mustRestore(t *testing.T, file string) Restored {
	t.Helper()
	r, err := Restore(t.Context(), h.owner, file, ignored)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustLog is every row of the log, all columns of them, in an order and a form to compare.
func (h *house) mustLog(t *testing.T) string {
	t.Helper()
	rows, err := h.admin.Query(t.Context(), `select row(i.*)::text from inbox as i order by position`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// mustAddUp checks the laws and returns the report.
func (h *house) mustAddUp(t *testing.T) verify.Report {
	t.Helper()
	r, err := verify.Check(t.Context(), h.pool)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Broken) > 0 || r.Gaps != 0 {
		t.Errorf("%d gaps, and these laws are broken: %+v", r.Gaps, r.Broken)
	}
	return r
}

func (h *house) mustFingerprint(t *testing.T) string {
	t.Helper()
	p, err := verify.Fingerprint(t.Context(), h.pool)
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

// Whatever order they are restored in, the log is what it was, and makes the same rows again.
func TestMonthsGoIntoFilesAndComeBackTheSame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	log, fingerprint := h.mustLog(t), h.mustFingerprint(t)
	var files []string
	for i, partition := range []string{"inbox_2025_03", "inbox_2025_04", "inbox_2025_05"} {
		m, end := h.mustArchive(t, partition)
		files = append(files, m.File)
		if m.State != Archived || end.Messages != perMonth || end.First != int64(i*perMonth+1) || end.Last != int64((i+1)*perMonth) {
			t.Errorf("%+v, %+v", m, end)
		}
		if again := h.mustMonth(t, partition); again.State != Archived || again.File != m.File || again.SHA256 != end.SHA256 || again.Messages != perMonth {
			t.Errorf("noted: %+v", again)
		}
		if r := h.mustAddUp(t); r.Detached != int64((i+1)*perMonth) || r.Received != 3*perMonth+1 {
			t.Errorf("%+v", r.Balance)
		}
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds people's data, and anybody may read it: %v, %v", info.Mode(), err)
	}
	if got := h.mustFingerprint(t); got != fingerprint {
		t.Errorf("what was projected is %s, and was %s", got, fingerprint)
	}
	for _, i := range []int{1, 2, 0} {
		if r := h.mustRestore(t, files[i]); r.LeftBehind || r.Messages != perMonth {
			t.Errorf("%+v", r)
		}
		h.mustAddUp(t)
	}
	if got := h.mustLog(t); got != log {
		t.Error("the log is another one")
	}
	p, err := projector.New(h.pool, h.box, projector.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	h.mustBuild(t, p)
	if got := h.mustFingerprint(t); got != fingerprint {
		t.Errorf("a replay makes %s, and it was %s", got, fingerprint)
	}
	if _, err := Restore(t.Context(), h.owner, files[0], ignored); !errors.Is(err, ErrInLog) {
		t.Errorf("restored twice: %v", err)
	}
	h.mustExec(t, `drop schema generation_1 cascade; delete from generations where name = 'generation_1'`)
	// The file of before is of use again.
	before := mustStat(t, files[0])
	h.mustArchive(t, "inbox_2025_03")
	if after := mustStat(t, files[0]); !after.ModTime().Equal(before.ModTime()) {
		t.Error("the same file was written once more")
	}
}

func mustStat(t *testing.T, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// mustBuild builds the generation that is ordered.
func (h *house) mustBuild(t *testing.T, p *projector.Projector) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Build(ctx) }()
	defer func() { stop(); <-done }()
	testservers.Eventually(t, "the generation is in service", func() bool {
		now, err := p.Progress(t.Context())
		return err == nil && now.Generation == ""
	})
}

// What comes into a month, and any column that the log may have one day, has to come back.
func TestEveryColumnOfTheLogIsArchived(t *testing.T) {
	t.Parallel()
	conn := testservers.Open(t, testservers.Database(t).AdminURL, 1)
	const columnsSQL = `
		select string_agg(attname, ' ' order by attname)
		from pg_attribute
		where attrelid = 'inbox'::regclass and attnum > 0 and not attisdropped`
	var columns string
	if err := conn.QueryRow(t.Context(), columnsSQL).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	if want := "channel original payload position received_at sequence source stamped_at"; columns != want {
		t.Errorf("the log has the columns %s, and archives have %s: give them another format", columns, want)
	}
}

func mustReadFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Whatever happened to a file, it is refused, and nothing is changed.
func TestADamagedFileIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m, _ := h.mustArchive(t, "inbox_2025_03")
	log, text := h.mustLog(t), mustReadFile(t, m.File)
	refused := func(what string, text []byte) {
		t.Helper()
		name := filepath.Join(h.dir, "damaged")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), h.owner, name, ignored); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for cut := 0; cut < len(text); cut += 1 + len(text)/20 {
		refused(fmt.Sprintf("cut at %d of %d", cut, len(text)), text[:cut])
	}
	for at := 0; at < len(text); at += 1 + len(text)/20 {
		turned := bytes.Clone(text)
		turned[at] ^= 0x10
		refused(fmt.Sprintf("byte %d of %d is another one", at, len(text)), turned)
	}
	refused("twice", append(bytes.Clone(text), text...))
	refused("with something behind it", append(bytes.Clone(text), 'x'))
	if got := h.mustLog(t); got != log {
		t.Error("the log was changed")
	}
	h.mustRestore(t, m.File)
}

// A file that is whole is not for that the month that was taken out of this log.
func TestAnotherDatabasesFileIsRefused(t *testing.T) {
	t.Parallel()
	h, other := newHouse(t), newHouse(t)
	other.mustExec(t, `update inbox_2025_03 set payload = 'x' where position = 17`)
	m, _ := other.mustArchive(t, "inbox_2025_03")
	if _, err := Restore(t.Context(), h.owner, m.File, ignored); !errors.Is(err, ErrInLog) {
		t.Errorf("while it is in the log: %v", err)
	}
	h.mustArchive(t, "inbox_2025_03")
	if _, err := Restore(t.Context(), h.owner, m.File, ignored); !errors.Is(err, ErrNotNoted) {
		t.Errorf("when this one's own was archived: %v", err)
	}
	// Nor is it written over.
	next := h.mustMonth(t, "inbox_2025_04")
	taken := filepath.Join(h.dir, "inbox_2025_04"+Suffix)
	if err := os.Rename(m.File, taken); err != nil {
		t.Fatal(err)
	}
	before := mustReadFile(t, taken)
	if _, err := Archive(t.Context(), h.owner, &next, h.dir, ignored); !errors.Is(err, ErrTaken) {
		t.Errorf("the file of another one is there: %v", err)
	}
	if !bytes.Equal(mustReadFile(t, taken), before) {
		t.Error("the file of another one was written over")
	}
}
