package inbox

import (
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/listen"
)

// Notifications is the PostgreSQL channel that is notified after every transaction that appends.
const Notifications = "orderbox_inbox"

// SourceSTAN is the source of what came over a NATS Streaming channel.
const SourceSTAN = "stan"

// SourceJetStream is the source of what came out of a JetStream stream. Its channels are streams, each with the time of its
// making, for one that was made anew counts from 1 again.
const SourceJetStream = "jetstream"

// sourceOperator is the source of retries and amendments. Their channels are the kinds of decision, each
// counted from 1 without holes.
const sourceOperator = "operator"

// Message is one message as the world delivered it. Its first four fields are its identity.
type Message struct {
	Source    string
	Channel   string
	Sequence  int64     // the broker's, from 1
	StampedAt time.Time // the broker's; kept to the microsecond
	Payload   []byte    // any bytes; nil and empty are the same
	// CopyOf is the message of another source that this one is a copy of; nil for none.
	CopyOf *Identity
}

// Identity is what tells the message from all others, wherever it came by: that of what it is a copy of.
func (m Message) Identity() Identity {
	if m.CopyOf != nil {
		return *m.CopyOf
	}
	return Identity{m.Source, m.Channel, m.Sequence, m.StampedAt}
}

// Identity tells a message from all others.
type Identity struct {
	Source    string
	Channel   string
	Sequence  int64
	StampedAt time.Time
}

// Entry is what a reader of the log gets.
type Entry struct {
	Position int64 // from 1, growing in commit order, with holes
	// Original is the position of the message that this one is a retry or an amendment of; 0 for none.
	Original   int64
	ReceivedAt time.Time
	Payload    []byte
	Ahead      Ahead `db:"-"` // of Read alone
}

// Ahead is what a reader who got an entry has to do with next.
type Ahead struct {
	Last    bool  // there was no entry behind it
	Adopted int64 // the id of the schema that had been adopted last; 0 for none
}

// Inbox is the log in one database.
type Inbox struct {
	pool     *pgxpool.Pool
	log      *slog.Logger
	appended *listen.Notifier // of readers

	mu       sync.Mutex
	prepared time.Time // when the partitions were last looked after; guarded by mu
}

// New returns the log in pool's database. A nil log discards.
func New(pool *pgxpool.Pool, log *slog.Logger) *Inbox {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("stage", "inbox")
	return &Inbox{pool: pool, log: log, appended: listen.NewNotifier(pool, Notifications, log)}
}
