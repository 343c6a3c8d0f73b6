package verify

// table is one of a generation's, with the statement that reads it. Each statement takes the first and
// the last position ($1, $2) and gives the position first, in its order. What it selects is all there is
// to a row, save what PostgreSQL generates from it.
type table struct {
	name string
	sql  string
	many bool // a position may have several rows, told apart by the second column
	// decided is set where what a row says depends on decisions; the last one that counts is $3.
	decided bool
}

// The tables, in the order of a fate's rows.
const (
	inReasons = iota
	inOrders
	inDeliveries
	inPayments
	inItems
	inDuplicates
	inDeadLetters
	inPlaces
	tableCount
)

// What belongs to no message stands at position 0.
const reasonsSQL = `
select 0 as position, code, sentence, help
from reasons
where 0 between $1::bigint and $2::bigint
order by code collate "C"`

const ordersSQL = `
select position, order_uid, digest, track_number, entry, locale, internal_signature, customer_id, delivery_service,
    shardkey, sm_id, date_created, date_created_text, oof_shard
from orders
where position between $1 and $2
order by position`

const deliveriesSQL = `
select position, name, phone, zip, city, address, region, email
from deliveries
where position between $1 and $2
order by position`

const paymentsSQL = `
select position, transaction, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total,
    custom_fee
from payments
where position between $1 and $2
order by position`

const itemRowsSQL = `
select position, line, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status
from items
where position between $1 and $2
order by position, line`

const duplicatesSQL = `
select position, first
from duplicates
where position between $1 and $2
order by position`

// The rows as they were at position $2 and decision $3, however far their generation has come since. A
// retry beyond $2 has resolved nothing yet. Where a later decision was applied, the column no longer
// says what the earlier ones came to, but they do.
const deadLettersSQL = `
select d.position, d.reason, d.sentence, d.violations, d.schema_version, d.first, d.original, d.received_at,
    case when d.resolved <= $2 then d.resolved end as resolved,
    case
        when exists (
            select
            from decisions as n
            where n.position = d.position
                and n.kind in ('discard', 'reopen')
                and n.id > $3
                and n.id <= (select c.decision from checkpoint as c)
        ) then coalesce((
            select n.kind = 'discard'
            from decisions as n
            where n.position = d.position
                and n.kind in ('discard', 'reopen')
                and n.id <= $3
            order by n.id desc
            limit 1
        ), false)
        else d.discarded
    end as discarded
from dead_letters as d
where d.position between $1 and $2
order by d.position`

const placesSQL = `
select position, place
from dead_letter_places
where position between $1 and $2
order by position, place collate "C"`

func tables() [tableCount]table {
	return [tableCount]table{
		inReasons:     {name: "reasons", sql: reasonsSQL, many: true},
		inOrders:      {name: "orders", sql: ordersSQL},
		inDeliveries:  {name: "deliveries", sql: deliveriesSQL},
		inPayments:    {name: "payments", sql: paymentsSQL},
		inItems:       {name: "items", sql: itemRowsSQL, many: true},
		inDuplicates:  {name: "duplicates", sql: duplicatesSQL},
		inDeadLetters: {name: "dead_letters", sql: deadLettersSQL, decided: true},
		inPlaces:      {name: "dead_letter_places", sql: placesSQL, many: true},
	}
}
