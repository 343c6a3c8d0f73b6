package cutover

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"

	"orderbox/inbox"
	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

// proof is a world with a log.
type proof struct {
	*world
	js    jetstream.JetStream
	admin *pgxpool.Pool
	box   *inbox.Inbox
	db    testservers.DB
}

// mustIngest puts what the stream has from a sequence on into the log, as package ingest does.
func (p *proof) mustIngest(from uint64) {
	p.Helper()
	s, err := p.js.Stream(p.Context(), "ORDERS")
	if err != nil {
		p.Fatal(err)
	}
	info := s.CachedInfo()
	var messages []inbox.Message
	for seq := from; seq <= info.State.LastSeq; seq++ {
		msg, err := s.GetMsg(p.Context(), seq)
		if err != nil {
			p.Fatal(err)
		}
		m := inbox.Message{Source: inbox.SourceJetStream, Channel: stream.Channel("ORDERS", info.Created), Sequence: int64(seq),
			StampedAt: msg.Time, Payload: msg.Data}
		if o, ok := stream.OriginOf(msg.Subject, msg.Header); ok {
			m.CopyOf = &inbox.Identity{Source: inbox.SourceSTAN, Channel: o.Channel, Sequence: int64(o.Sequence), StampedAt: time.Unix(0, o.Stamp)}
		}
		messages = append(messages, m)
	}
	if _, err := p.box.Append(p.Context(), messages); err != nil {
		p.Fatal(err)
	}
}

func (p *proof) must(statement string) {
	p.Helper()
	if tag, err := p.admin.Exec(p.Context(), statement); err != nil || tag.RowsAffected() == 0 && !strings.HasPrefix(statement, "alter") {
		p.Fatalf("%s: %v, %v", statement, tag, err)
	}
}

func (p *proof) mustProve(quiet time.Duration) Report {
	p.Helper()
	r, err := Prove(p.Context(), ProveOptions{STAN: p.options("report").STAN, Stream: p.options("report").Stream,
		Pool: testservers.Open(p, p.db.ReaderURL, 1), Quiet: quiet})
	if err != nil {
		p.Fatal(err)
	}
	return r
}

const (
	proven = 300 // messages of STAN
	before = 100 // of them came by STAN first
	direct = 10  // messages of the stream that are no copies
)

// mustCutOver is a cut-over of so many messages that is done: all is copied, some came by STAN before, and producers have moved.
func mustCutOver(t *testing.T, messages int) *proof {
	w, db := newWorld(t), testservers.Database(t)
	p := &proof{world: w, db: db, admin: testservers.Open(t, db.AdminURL, 1), box: inbox.New(testservers.Open(t, db.ServiceURL, 1), nil)}
	w.mustPublish(numbered(1, messages)...)
	w.mustRelay()
	p.js = w.mustJetStream()
	p.mustIngest(1)
	p.must(fmt.Sprintf(`update inbox set received_at = received_at - interval '1 s' where sequence <= %d`, before))
	for range direct {
		if _, err := p.js.Publish(t.Context(), channel, []byte("moved")); err != nil {
			t.Fatal(err)
		}
	}
	p.mustIngest(uint64(messages) + 1)
	return p
}

func TestAReportOfWhatAddsUp(t *testing.T) {
	t.Parallel()
	const proven = compareChunk + 100
	p := mustCutOver(t, proven)
	r := p.mustProve(0)
	if age := time.Since(r.STAN.LastAt); age < 0 || age > time.Hour {
		t.Errorf("the last came %s ago", age)
	}
	if !strings.HasPrefix(r.Stream, "ORDERS@") {
		t.Errorf("the stream is %s", r.Stream)
	}
	want := Report{Channel: channel, Stream: r.Stream, STAN: STANReport{Messages: proven, First: 1, Last: proven, LastAt: r.STAN.LastAt},
		Log:    LogReport{Once: proven, Both: before, CopiedOnly: proven - before, Wrong: []Run{}},
		Copies: CopyReport{Once: proven, Wrong: []Run{}},
		Whole:  WholeReport{Messages: proven + direct, InLog: proven + direct},
		Ready:  true, Verdict: "STAN can be switched off: every message is in the log once, and copied"}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("report %+v\nwant   %+v", r, want)
	}
	if r := p.mustProve(time.Hour); r.Ready || !strings.Contains(r.Verdict, "its last message came") {
		t.Errorf("%t: %s", r.Ready, r.Verdict)
	}
}

// Only the age that the last message had when the report began counts, for others may have come since.
func TestAReportIsNotReadyWhileSTANIsBusy(t *testing.T) {
	t.Parallel()
	p := mustCutOver(t, 50)
	const quiet = 2 * time.Second
	once := false
	r, err := Prove(p.Context(), ProveOptions{STAN: p.options("report").STAN, Stream: p.options("report").Stream,
		Pool: testservers.Open(p, p.db.ReaderURL, 1),
		Progress: func(uint64, uint64) { // with more messages it is called before the end, too
			if !once {
				once = true
				p.mustPublish([]byte("busy"), []byte("still"))
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ready || r.STAN.Since != 2 || !strings.Contains(r.Verdict, "2 messages came to STAN while this was compared") {
		t.Errorf("%d came since, %t: %s", r.STAN.Since, r.Ready, r.Verdict)
	}
	began := r.STAN.LastAt.Add(time.Second)
	r.STAN.Since = 0
	if r.judge(quiet, began); r.Ready || !strings.Contains(r.Verdict, "its last message came 1s ago, less than 2s") {
		t.Errorf("%t: %s", r.Ready, r.Verdict)
	}
}

// It may be another channel than that of the service, or another cluster.
func TestAReportOfAChannelWithoutMessagesIsNotReady(t *testing.T) {
	t.Parallel()
	p := mustCutOver(t, 50)
	o := p.options("report")
	o.STAN.Channel, o.Stream.Subject = "ordres", "ordres"
	r, err := Prove(t.Context(), ProveOptions{STAN: o.STAN, Stream: o.Stream, Pool: testservers.Open(p, p.db.ReaderURL, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ready || !strings.Contains(r.Verdict, "STAN has no message on channel ordres: is it the right channel and cluster?") {
		t.Errorf("%t: %s", r.Ready, r.Verdict)
	}
}

// That STAN delivers nothing of what was copied once is a fault, and no empty channel.
func TestAReportOfASTANThatIsSilentIsAnError(t *testing.T) {
	t.Parallel()
	p := mustCutOver(t, 50)
	p.stan.Wipe()
	o := p.options("report")
	r, err := Prove(t.Context(), ProveOptions{STAN: o.STAN, Stream: o.Stream, Pool: testservers.Open(p, p.db.ReaderURL, 1)})
	if !errors.Is(err, stream.ErrSilent) {
		t.Errorf("%v, report %+v", err, r)
	}
}

func TestAReportDoesNotPassOverWhatSTANHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPublish(numbered(1, 7)...)
	conn, err := w.options("report").STAN.connect(func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &comparison{conn: conn, copies: &copyReader{ended: true}, reach: 3, end: place{7, 1},
		report: &Report{Channel: channel, STAN: STANReport{Messages: 3}}, tell: func(uint64, uint64) {}}
	err = c.take(t.Context(), &stan.Msg{MsgProto: pb.MsgProto{Sequence: 6}})
	if err == nil || err.Error() != "message 6 was delivered after 3: STAN has 4" {
		t.Error(err)
	}
}

// A user does not see from "no servers available" which ones.
func TestABrokerThatIsNotThereIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const away = "nats://user:secret@127.0.0.1:1"
	for flag, change := range map[string]func(o *ProveOptions){
		"--nats-url": func(o *ProveOptions) {
			w.mustMake(jetstream.StreamConfig{})
			o.STAN.URL = away
		},
		"--stream-url": func(o *ProveOptions) { o.Stream.URL = away + ",nats://token@127.0.0.1:2" },
	} {
		o := ProveOptions{STAN: w.options("report").STAN, Stream: w.options("report").Stream}
		change(&o)
		_, err := Prove(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "at 127.0.0.1:1") || !strings.Contains(err.Error(), "("+flag) ||
			strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// Each thing that can be wrong is found, and named.
func TestAReportOfWhatDoesNotAddUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks func(p *proof)
		change func(want *Report)
		says   string
	}{
		"messages that are not in the log": {
			func(p *proof) { p.must(`delete from inbox where source = 'stan' and sequence in (7, 200, 201)`) },
			func(r *Report) {
				r.Log.Once, r.Log.Both, r.Log.CopiedOnly, r.Log.Missing = proven-3, before-1, proven-before-2, 3
				r.Log.Wrong = []Run{{"missing", 7, 7}, {"missing", 200, 201}}
			}, "3 of its messages are not in the log"},
		"one that is detached": {
			func(p *proof) {
				p.must(`insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
					select 'x', source, channel, 7, 1, 7, sequence, stamped_at from inbox where source = 'stan' and sequence = 7`)
				p.must(`delete from inbox where source = 'stan' and sequence = 7`)
			},
			func(r *Report) {
				r.Log.Once, r.Log.Both, r.Log.Detached = proven-1, before-1, 1
				r.Verdict += "; 1 were not compared with the log, because their month was detached"
			}, ""},
		"a copy with another payload": {
			func(p *proof) { // as it is in the log when STAN brought the message first
				p.must(`insert into inbox (source, channel, sequence, stamped_at, payload)
					select source, channel, sequence, stamped_at, 'false' from copies where sequence = 7`)
				p.must(`delete from copies where sequence = 7`)
			},
			func(r *Report) { r.Log.Both, r.Log.STANAlone = before-1, 1 }, "1 of its messages have no copy in the log: it has another payload, or came while this was compared"},
		"one byte": {
			func(p *proof) {
				p.must(`update inbox set payload = set_byte(payload, 0, (get_byte(payload, 0) + 1) % 256) where source = 'stan' and sequence = 300`)
			},
			func(r *Report) {
				r.Log.Once, r.Log.CopiedOnly, r.Log.Different = proven-1, proven-before-1, 1
				r.Log.Wrong = []Run{{"different", 300, 300}}
			}, "1 of its messages are other ones in the log"},
		"another stamp": {
			func(p *proof) {
				p.must(`update inbox set stamped_at = stamped_at + interval '1 us' where source = 'stan' and sequence = 1`)
			},
			func(r *Report) {
				r.Log.Once, r.Log.Both, r.Log.Missing = proven-1, before-1, 1
				r.Log.Wrong = []Run{{"missing", 1, 1}}
			}, "1 of its messages are not in the log"},
		"one that is there twice": {
			func(p *proof) {
				p.must(`alter table inbox drop constraint inbox_source_channel_sequence_stamped_at_key`)
				p.must(`insert into inbox (source, channel, sequence, stamped_at, payload)
					select source, channel, sequence, stamped_at, payload from inbox where source = 'stan' and sequence = 3`)
			},
			func(r *Report) {
				r.Log.Once, r.Log.Both, r.Log.Doubled = proven-1, before-1, 1
				r.Log.Wrong = []Run{{"doubled", 3, 3}}
			}, "1 of its messages are in the log more than once"},
		"copies that are not in the stream": {
			func(p *proof) {
				for _, seq := range []uint64{4, 5, proven} {
					s, err := p.js.Stream(p.Context(), "ORDERS")
					if err == nil {
						err = s.DeleteMsg(p.Context(), seq)
					}
					if err != nil {
						p.Fatal(err)
					}
				}
			},
			func(r *Report) {
				r.Copies.Once, r.Copies.Missing = proven-3, 3
				r.Copies.Wrong = []Run{{"not copied", 4, 5}, {"not copied", proven, proven}}
				r.Whole.Messages, r.Whole.InLog = proven+direct-3, proven+direct-3
			}, "3 of its messages have no copy in the stream"},
		"one that is copied again": {
			func(p *proof) {
				s, err := p.js.Stream(p.Context(), "ORDERS")
				if err != nil {
					p.Fatal(err)
				}
				msg, err := s.GetMsg(p.Context(), 9)
				if err != nil {
					p.Fatal(err)
				}
				again := &nats.Msg{Subject: msg.Subject, Data: msg.Data, Header: nats.Header{}}
				o, _ := stream.OriginOf(msg.Subject, msg.Header)
				again.Header.Set(o.Header())
				if _, err := p.js.PublishMsg(p.Context(), again); err != nil {
					p.Fatal(err)
				}
				p.mustIngest(proven + direct + 1)
			},
			func(r *Report) { r.Copies.Again, r.Whole.Messages, r.Whole.InLog = 1, proven+direct+1, proven+direct+1 }, ""},
		"what was published to the stream and is not in the log": {
			func(p *proof) { p.must(`delete from inbox where source = 'jetstream' and sequence > 308`) },
			func(r *Report) { r.Whole.InLog, r.Whole.NotYet = proven+direct-2, 2 }, "2 messages of the stream are not in the log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustCutOver(t, proven)
			want := p.mustProve(0)
			c.breaks(p)
			got := p.mustProve(0)
			c.change(&want)
			if c.says != "" {
				want.Ready, want.Verdict = false, "STAN cannot be switched off yet: "+c.says
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("report %+v\nwant   %+v", got, want)
			}
		})
	}
}
