-- What it takes to decide again: the schemas by which the log was ever judged, what operators decided about messages,
-- and the place of each generation in a replay. Schemas and decisions belong to the log: with it they determine every
-- row of a projection.

-- +goose Up

-- original is the message that this one is about: a retry carries its payload once more, an amendment carries what it
-- should have been. Both have the source operator. Null for what came from a broker.
alter table inbox add column original bigint;
create index inbox_original on inbox (original) where original is not null;

-- A schema judges the entries behind a position, until the next one does. fingerprint names the program's tables and
-- code that brought it: a program whose fingerprint and version are here, but not last, is an older one.
create table schemas (
    id          bigint generated always as identity primary key,
    version     text not null,
    fingerprint text not null,
    source      bytea not null,
    after       bigint not null,
    adopted_at  timestamptz not null default now()
);

-- What operators decided. position is the message, entry that of the retry or the amendment in the log.
-- The order of ids is the order of commits, by the same lock as that of the inbox's positions.
create table decisions (
    id         bigint generated always as identity primary key,
    position   bigint not null,
    kind       text not null check (kind in ('retry', 'amend', 'discard', 'reopen')),
    entry      bigint,
    decided_at timestamptz not null default now(),
    decided_by text not null,
    note       text not null,
    check ((entry is not null) = (kind in ('retry', 'amend')))
);
create index decisions_position on decisions (position, id);

-- state: building until it has caught up, then current, in service; the one that was before it is previous, until
-- the next replay. A trial is compared and dropped.
-- base is the schema that judges from the beginning; later ones judge from their own positions on. It is null for a
-- generation from before schemas were kept.
-- status is what there is to say about the building of one.
alter table generations add column state text not null default 'building'
    check (state in ('building', 'current', 'previous', 'trial'));
update generations set state = 'current' where current;
alter table generations drop column current;
alter table generations alter column state drop default;
alter table generations add column base bigint references schemas;
alter table generations add column status text not null default '';
create unique index generations_one_of_each on generations (state) where state <> 'trial';

grant insert, select on schemas, decisions to orderbox;
grant select on schemas, decisions to orderbox_reader;
