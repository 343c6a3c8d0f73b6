-- The log: every message exactly as it came, in the order of commits. And the pointer to the generation of the
-- projection that is in service. Both belong to orderbox_owner; the service's role may add to the log and read it,
-- and nothing else.

-- +goose Up

-- source and channel say where a message came from, sequence and stamped_at which one it was there. A broker that
-- lost its store counts from 1 again but stamps anew, so the stamp is part of the identity. It is kept in
-- microseconds; a redelivery carries the same stamp.
create table inbox (
    position    bigint generated always as identity,
    source      text not null,
    channel     text not null,
    sequence    bigint not null,
    stamped_at  timestamptz not null,
    received_at timestamptz not null default now(),
    payload     bytea not null,
    unique (source, channel, sequence, stamped_at)
) partition by range (stamped_at);
create index inbox_position on inbox (position);

comment on table inbox is 'every message byte for byte, append-only, in commit order';
comment on column inbox.position is 'order of commit: appenders hold a lock from before it is given until they commit';

-- Catches what no month's partition takes, so that no stamp, however wrong, is ever refused.
create table inbox_other partition of inbox default;

-- The service may not create partitions, for they belong to the owner; this one thing it may ask for.
-- A month for which messages already lie in inbox_other stays there.
-- +goose StatementBegin
create function prepare_inbox_partitions(months_ahead integer) returns void
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp set lock_timeout = '3s' as $$
declare
    first_day timestamptz;
    next_day  timestamptz;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtext('orderbox partitions'));
    for ahead in 0 .. least(months_ahead, 24) loop
        first_day := (date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead)) at time zone 'utc';
        next_day := (date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead + 1)) at time zone 'utc';
        partition := 'inbox_' || to_char(first_day at time zone 'utc', 'YYYY_MM');
        continue when to_regclass('public.' || partition) is not null;
        continue when exists (select from public.inbox_other where stamped_at >= first_day and stamped_at < next_day);
        execute format('create table public.%I partition of public.inbox for values from (%L) to (%L)',
            partition, first_day, next_day);
    end loop;
end $$;
-- +goose StatementEnd
revoke execute on function prepare_inbox_partitions(integer) from public;

-- A generation is a schema with the projection's tables. The one marked current is in service.
-- fingerprint names the tables and the schema of judgement that it was built with.
create table generations (
    name        text primary key,
    fingerprint text not null,
    current     boolean not null default false,
    created_at  timestamptz not null default now()
);
create unique index generations_one_current on generations (current) where current;

grant usage on schema public to orderbox, orderbox_reader;
grant select on goose_db_version to orderbox, orderbox_reader;
grant insert, select on inbox to orderbox;
grant execute on function prepare_inbox_partitions(integer) to orderbox;
grant select, insert, update, delete on generations to orderbox;
grant select on inbox, generations to orderbox_reader;

-- What the service creates later, the reader may read: the generations' schemas and their tables.
alter default privileges for role orderbox grant usage on schemas to orderbox_reader;
alter default privileges for role orderbox grant select on tables to orderbox_reader;
