-- The tables right of the inbox. This file is no migration: it is run as it is into a schema of its own, a
-- generation, by the service's role. A change here makes a new generation, projected from the log.
--
-- No column says when a row was written: the same log projected twice gives the same rows.

-- The catalogue of verdicts that refuse, so that a list or a page needs no names of its own.
create table reasons (
    code     text primary key,
    sentence text not null,
    help     text not null
);

-- How far this generation has come, and what became of the messages up to there. One row.
create table checkpoint (
    one          boolean primary key default true check (one),
    position     bigint not null,
    orders       bigint not null,
    duplicates   bigint not null,
    dead_letters bigint not null,
    decision     bigint not null -- the last one that was applied
);
insert into checkpoint (position, orders, duplicates, dead_letters, decision) values (0, 0, 0, 0, 0);

-- position is that of the message which made the order: the key by which everything to the right follows.
-- digest is the SHA-256 of the order as it is served: it tells a duplicate from a conflict.
-- date_created is for sorting and filtering, date_created_text is what was sent and what is served. Several orders may
-- have one track_number, by which people search.
create table orders (
    position           bigint primary key,
    order_uid          text not null unique,
    digest             bytea not null,
    track_number       text not null,
    entry              text not null,
    locale             text not null,
    internal_signature text not null,
    customer_id        text not null,
    delivery_service   text not null,
    shardkey           text not null,
    sm_id              bigint not null,
    date_created       timestamptz not null,
    date_created_text  text not null,
    oof_shard          text not null
);
create index orders_track_number on orders (track_number, position);

create table deliveries (
    position bigint primary key references orders deferrable,
    name     text not null,
    phone    text not null,
    zip      text not null,
    city     text not null,
    address  text not null,
    region   text not null,
    email    text not null
);

create table payments (
    position      bigint primary key references orders deferrable,
    transaction   text not null,
    request_id    text not null,
    currency      text not null,
    provider      text not null,
    amount        bigint not null,
    payment_dt    bigint not null,
    bank          text not null,
    delivery_cost bigint not null,
    goods_total   bigint not null,
    custom_fee    bigint not null
);

-- line counts from 1 in the order of the message.
create table items (
    position     bigint not null references orders deferrable,
    line         integer not null,
    chrt_id      bigint not null,
    track_number text not null,
    price        bigint not null,
    rid          text not null,
    name         text not null,
    sale         bigint not null,
    size         text not null,
    total_price  bigint not null,
    nm_id        bigint not null,
    brand        text not null,
    status       bigint not null,
    primary key (position, line)
);

-- A message whose order was there already with the same content. first is the position of that order.
create table duplicates (
    position bigint primary key,
    first    bigint not null references orders deferrable
);
create index duplicates_first on duplicates (first);

-- A message that was refused. violations is an array of {"pointer", "keyword", "message"}; first is the position
-- of the order that a conflict lost to. original is the message of which this is a retry or an amendment: such a
-- one is listed with its original only. resolved is the first retry or amendment that was not refused.
create table dead_letters (
    position       bigint primary key,
    reason         text not null references reasons,
    sentence       text not null,
    violations     jsonb not null,
    schema_version text not null,
    first          bigint references orders deferrable,
    original       bigint,
    received_at    timestamptz not null,
    resolved       bigint,
    discarded      boolean not null default false,
    state          text not null generated always as (
        case when resolved is not null then 'resolved' when discarded then 'discarded' else 'open' end) stored
);
create index dead_letters_state on dead_letters (state, position) where original is null;
create index dead_letters_reason on dead_letters (reason, state, position) where original is null;
create index dead_letters_received on dead_letters (received_at) where original is null;
create index dead_letters_first on dead_letters (first) where first is not null;
create index dead_letters_original on dead_letters (original, position) where original is not null;

-- Where dead letters fail: the pointers of their violations, each once, with * for the number of an entry.
create table dead_letter_places (
    place    text not null,
    position bigint not null references dead_letters deferrable,
    primary key (position, place)
);
create index dead_letter_places_place on dead_letter_places (place, position);

-- How many dead letters have a reason, fail at a place and are in a state; those with the place * are counted wherever
-- they fail, and each once. Retries and amendments are not among them. So a page says how many there are without
-- reading them. A row that says 0 is as good as none.
create table dead_letter_counts (
    reason  text not null references reasons,
    place   text not null,
    state   text not null,
    letters bigint not null,
    primary key (reason, place, state)
);
