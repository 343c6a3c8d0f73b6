package verify

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/testservers"
)

func mustPrint(t *testing.T, pool *pgxpool.Pool) Print {
	t.Helper()
	p, err := Fingerprint(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mustFilled is a log whose rows have something in every column.
func mustFilled(t *testing.T) log {
	t.Helper()
	l := mustProjected(t)
	l.must(t, decided+`
		insert into schemas (version, fingerprint, source, after) values ('one', '', '', 0), ('two', '', '', 12), ('three', '', '', 14);
		update generations set base = 1;
		update g1.orders set digest = sha256(order_uid::bytea), date_created = '2026-03-04 05:06:07.89Z',
			date_created_text = '2026-03-04T05:06:07.890Z'`)
	return l
}

// putInService has another generation take the place of g1.
const putInService = `
	update generations set state = 'previous' where state = 'current';
	update generations set state = 'current', base = 1 where name = 'g2'`

func TestFingerprintNamesPositionSchemasAndContent(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	p := mustPrint(t, l.reader)
	if !regexp.MustCompile(`^14-one\+two-[0-9a-f]{32}$`).MatchString(p.String()) {
		t.Errorf("fingerprint %s", p)
	}
	l.must(t, `update generations set base = null`)
	if p := mustPrint(t, l.reader); !strings.HasPrefix(p.String(), "14-unknown-") {
		t.Errorf("of a generation without a schema %s", p)
	}
	l.must(t, `delete from generations`)
	if p := mustPrint(t, l.reader); p.String() != "none" {
		t.Errorf("without a generation %s", p)
	}
}

// The other installation has its rows in another order and under another name, received them at another
// time, and its sessions write dates, times and bytes otherwise.
func TestSameLogHasTheSameFingerprintElsewhere(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	here := mustPrint(t, l.reader)
	l.mustClone(t, "g2")
	l.must(t, putInService+`; update g2.dead_letters set received_at = now() + interval '1 h'`)
	config := l.reader.Config()
	maps.Copy(config.ConnConfig.RuntimeParams, map[string]string{
		"TimeZone": "Asia/Kathmandu", "DateStyle": "German, DMY", "bytea_output": "escape",
		"lc_numeric": "C", "lc_monetary": "C", "lc_time": "C", "IntervalStyle": "sql_standard", "extra_float_digits": "0",
	})
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if there := mustPrint(t, pool); there != here {
		t.Errorf("%s there, %s here", there, here)
	}
}

// The same messages in the same order stand at positions 1, 2, 3… in one log, and elsewhere in another one.
func TestHolesMakeNoOtherFingerprint(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]string{"many holes": `(%[1]s * 3 + 1)`, "a large hole": `(%[1]s + case when %[1]s > 8 then 1000000 else 0 end)`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := mustFilled(t)
			l.must(t, `update g1.dead_letters set first = 2, sentence = 'Message 2 made 22 orders.',
				violations = '[{"message": "is that of the order of message 2"}]' where position = 9`)
			here := mustPrint(t, l.reader)
			l.mustClone(t, "g2") // the last rows first, so that none takes a position that is still another's
			moved := func(columns ...string) (set string) {
				for i, column := range columns {
					columns[i] = column + " = " + fmt.Sprintf(place, column)
				}
				return " set " + strings.Join(columns, ", ")
			}
			two := fmt.Sprintf(place, "2")
			l.must(t, `update decisions`+moved("position", "entry")+`;
				update schemas`+moved("after")+` where after > 0;
				update g2.orders`+moved("position")+`; update g2.deliveries`+moved("position")+`; update g2.payments`+moved("position")+`;
				update g2.items`+moved("position")+`; update g2.duplicates`+moved("position", "first")+`;
				update g2.dead_letters`+moved("position", "first", "original", "resolved")+`,
					sentence = replace(sentence, 'Message 2 ', 'Message ' || `+two+` || ' '),
					violations = replace(violations::text, 'message 2"', 'message ' || `+two+` || '"')::jsonb;
				update g2.dead_letter_places`+moved("position")+`; update g2.checkpoint`+moved("position")+`;`+putInService)
			if there := mustPrint(t, l.reader); there != here {
				t.Errorf("%s there, %s here", there, here)
			}
			// It refers to another message from now on.
			l.must(t, `update g2.dead_letters set original = (select min(position) from g2.orders) where original is not null`)
			if there := mustPrint(t, l.reader); there == here {
				t.Error("a retry of another message has the same fingerprint")
			}
		})
	}
}

func TestANumberIsReplacedWhereItStandsByItself(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"message 12": "message 7", "12": "7", "1212 and 12, 121, 312": "1212 and 7, 121, 312", "none": "none", "": "",
	} {
		if got := string(replaceNumber([]byte(text), []byte("12"), []byte("7"))); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// The catalogue says what columns there are, so none is forgotten when one is added.
func TestAnyChangedColumnIsAnotherFingerprint(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2") // without foreign keys
	l.must(t, putInService)
	before := mustPrint(t, l.reader)
	ofThePrograms := map[string]bool{
		"reasons": true, "checkpoint.one": true, "dead_letters.received_at": true,
		// What they count is in the hash.
		"checkpoint.orders": true, "checkpoint.duplicates": true, "checkpoint.dead_letters": true, "checkpoint.decision": true,
		"dead_letter_counts": true,
	}
	tried := 0
	for _, table := range l.tablesOf(t) {
		for _, column := range l.columnsOf(t, table) {
			if ofThePrograms[table] || ofThePrograms[table+"."+column] {
				continue
			}
			tried++
			l.must(t, l.changed(t, table, column))
			if after := mustPrint(t, l.reader); after == before {
				t.Errorf("%s.%s is not in the fingerprint", table, column)
			}
			l.must(t, unchanged(table))
			if again := mustPrint(t, l.reader); again != before {
				t.Fatalf("%s.%s: %s does not come back, but %s", table, column, before, again)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d columns were found", tried)
	}
}

func TestFingerprintOfAnUnreachableDatabaseIsAnError(t *testing.T) {
	t.Parallel()
	pool := testservers.Open(t, "postgres://orderbox@127.0.0.1:1/orderbox", 1)
	if p, err := Fingerprint(t.Context(), pool); err == nil {
		t.Errorf("no error but %s", p)
	}
}
