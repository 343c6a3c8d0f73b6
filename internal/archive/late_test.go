package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"orderbox/inbox"
	"orderbox/projector"
)

// mustReceive appends a message of a sequence and a stamp.
func (h *house) mustReceive(t *testing.T, sequence int64, stamp time.Time) {
	t.Helper()
	m := inbox.Message{Source: inbox.SourceSTAN, Channel: "orders", Sequence: sequence, StampedAt: stamp, Payload: []byte("late")}
	if _, err := h.box.Append(t.Context(), []inbox.Message{m}); err != nil {
		t.Fatal(err)
	}
}

const nextSequence = 3*perMonth + 1

// It may come before the file has its name, or after: it is in the log, and the next attempt has it in the file.
func TestAMessageThatComesMeanwhileIsArchivedAsWell(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"write", "compare", "drop"} {
		h := newHouse(t)
		m := h.mustMonth(t, "inbox_2025_03")
		came := false
		_, err := Archive(t.Context(), h.owner, &m, h.dir, func(at string, done, _ int64) {
			if at == step && !came {
				came = true
				h.mustReceive(t, nextSequence, firstMonth.Add(time.Hour))
				h.mustProject(t)
			}
		})
		if !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", step, err)
		}
		if left, err := filepath.Glob(filepath.Join(h.dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: there are %v, %v", step, left, err)
		}
		if r := h.mustAddUp(t); r.Detached != 0 {
			t.Errorf("%s: %+v", step, r.Balance)
		}
		log := h.mustLog(t)
		m, end := h.mustArchive(t, "inbox_2025_03")
		if end.Messages != perMonth+1 {
			t.Errorf("%s: %+v", step, end)
		}
		h.mustRestore(t, m.File)
		if h.mustLog(t) != log {
			t.Errorf("%s: the log is another one", step)
		}
	}
}

// A broker with a history was there before the service: its months never had partitions.
func TestMonthsOfBeforeTheServiceAreArchived(t *testing.T) {
	t.Parallel()
	h := newEmptyHouse(t)
	h.fill(t)
	log, fingerprint := h.mustLog(t), h.mustFingerprint(t)
	if m := h.mustMonth(t, "inbox_2025_04"); m.State != InOther || m.WhyNot != "" {
		t.Errorf("%+v", m)
	}
	var files []string
	for _, partition := range []string{"inbox_2025_03", "inbox_2025_04"} {
		m, _ := h.mustArchive(t, partition)
		files = append(files, m.File)
		h.mustAddUp(t)
	}
	for _, file := range files {
		h.mustRestore(t, file)
		h.mustAddUp(t)
	}
	if h.mustLog(t) != log || h.mustFingerprint(t) != fingerprint {
		t.Error("it is not what it was")
	}
}

// What a wrong clock has stamped is no month of its own, and is in nobody's way.
func TestAMessageWithAWrongStampIsNoMonth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustReceive(t, nextSequence, time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC))
	h.mustProject(t)
	if m := h.mustMonth(t, "inbox_2019_01"); m.State != InOther || !m.Stays || !strings.Contains(m.WhyNot, "a clock was wrong") {
		t.Errorf("%+v", m)
	}
	h.mustArchive(t, "inbox_2025_03")
	h.mustAddUp(t)
}

// A new one becomes a part of the month when that is restored; one that came again has a verdict of its own, and is never
// put in the place of the first.
func TestWhatComesForAnArchivedMonthIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m, _ := h.mustArchive(t, "inbox_2025_03")
	h.mustReceive(t, nextSequence, firstMonth.Add(time.Hour))
	h.mustProject(t)
	archived := h.mustLog(t)
	h.mustRestore(t, m.File)
	h.mustAddUp(t)
	if after := h.mustMonth(t, "inbox_2025_03"); after.State != InLog || after.WhyNot != "" {
		t.Errorf("%+v", after)
	}
	if err := os.Remove(m.File); err != nil { // it lacks the new one
		t.Fatal(err)
	}
	if _, end := h.mustArchive(t, "inbox_2025_03"); end.Messages != perMonth+1 {
		t.Errorf("%+v", end)
	}

	h.mustReceive(t, 1, firstMonth.Add(123456*time.Microsecond))
	h.mustProject(t)
	log := h.mustLog(t)
	if len(log) <= len(archived)-len("late") {
		t.Error("it was not stored")
	}
	if _, err := Restore(t.Context(), h.owner, m.File, ignored); err == nil || !strings.Contains(err.Error(), "came again") {
		t.Errorf("restored: %v", err)
	}
	if h.mustLog(t) != log {
		t.Error("the log was changed")
	}
	h.mustAddUp(t)
	months, err := Months(t.Context(), h.owner)
	if err != nil {
		t.Fatal(err)
	}
	came := false
	for _, m := range months {
		came = came || m.State == InOther && m.Stays && strings.Contains(m.WhyNot, "came again")
	}
	if !came {
		t.Errorf("what came again is not told of: %+v", months)
	}
}

func TestOneAtATimeArchives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m := h.mustMonth(t, "inbox_2025_03")
	other := h.connect(t)
	_, err := Archive(t.Context(), h.owner, &m, h.dir, func(string, int64, int64) {
		another := m
		if _, err := Archive(t.Context(), other, &another, h.dir, ignored); !errors.Is(err, ErrBusy) {
			t.Errorf("a second one: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The file is read back, and what it holds compared with the table.
func TestATableThatIsNotInTheFileIsNotDropped(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`payload = 'x'`, `received_at = received_at + interval '1 us'`, `stamped_at = stamped_at + interval '1 us'`, `channel = 'other'`, `source = 'other'`,
		`original = 1`, `sequence = 1000`, `position = 1000`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			m := h.mustMonth(t, "inbox_2025_03")
			_, err := Archive(t.Context(), h.owner, &m, h.dir, func(at string, done, _ int64) {
				if at == "compare" {
					h.mustExec(t, `update inbox_2025_03 set `+change+` where position = 17`)
				}
			})
			if !errors.Is(err, errOther) {
				t.Errorf("archived: %v", err)
			}
			if again := h.mustMonth(t, "inbox_2025_03"); again.State != InLog {
				t.Errorf("%+v", again)
			}
		})
	}
}

// As it was done before there was a command: the table is kept, and archived later, or attached again.
func TestAMonthThatWasDetachedByHandIsArchivedOrAttached(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	log := h.mustLog(t)
	h.mustExec(t, `select detach_inbox_partition('inbox_2025_03')`)
	h.mustExec(t, `select attach_inbox_partition('inbox_2025_03', '2025-03-01Z', '2025-04-01Z')`)
	if r := h.mustAddUp(t); r.Detached != 0 || h.mustLog(t) != log {
		t.Errorf("attached: %+v", r.Balance)
	}
	h.mustExec(t, `select detach_inbox_partition('inbox_2025_03')`)
	if m := h.mustMonth(t, "inbox_2025_03"); m.State != Detached || m.Messages != perMonth || m.Bytes == 0 {
		t.Errorf("%+v", m)
	}
	m, _ := h.mustArchive(t, "inbox_2025_03")
	h.mustAddUp(t)
	h.mustRestore(t, m.File)
	if r := h.mustAddUp(t); r.Detached != 0 || h.mustLog(t) != log {
		t.Errorf("restored: %+v", r.Balance)
	}
}

// A generation that is being built has passed the month, and would lack it.
func TestNothingIsRestoredUnderAReplay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m, _ := h.mustArchive(t, "inbox_2025_03")
	p, err := projector.New(h.pool, h.box, projector.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Order(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), h.owner, m.File, ignored); err == nil || !strings.Contains(err.Error(), "a replay is under way") {
		t.Errorf("restored: %v", err)
	}
	if _, err := p.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.mustRestore(t, m.File)
	h.mustAddUp(t)
}

// While producers moved, messages came by two brokers: what is noted of the second stays, and both counts are whole.
func TestCopiesOfArchivedMessagesStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var copies []inbox.Message
	for i := range 3 {
		var of inbox.Identity
		var payload []byte
		const firstSQL = `select source, channel, sequence, stamped_at, payload from inbox where sequence = $1 and source = 'stan'`
		if err := h.admin.QueryRow(t.Context(), firstSQL, perMonth-2+i).Scan(&of.Source, &of.Channel, &of.Sequence, &of.StampedAt, &payload); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, inbox.Message{Source: inbox.SourceJetStream, Channel: "ORDERS", Sequence: int64(i + 1),
			StampedAt: firstMonth.AddDate(0, 3, 0), Payload: payload, CopyOf: &of})
	}
	if stored, err := h.box.Append(t.Context(), copies); err != nil || stored != 0 {
		t.Fatalf("%d of the copies are new, %v", stored, err)
	}
	h.mustProject(t)
	log, fingerprint := h.mustLog(t), h.mustFingerprint(t)
	m, _ := h.mustArchive(t, "inbox_2025_03")
	h.mustAddUp(t)
	h.mustRestore(t, m.File)
	h.mustAddUp(t)
	if h.mustLog(t) != log || h.mustFingerprint(t) != fingerprint {
		t.Error("it is not what it was")
	}
}
