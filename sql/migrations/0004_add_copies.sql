-- A message may come by more than one broker: while producers move from one to another, what the old one has is copied to
-- the new one. The log keeps it once, under the identity it had first; and how each copy came is noted, so that both
-- brokers' counts can be followed without holes.

-- +goose Up

-- original is the message, by its position in the inbox; 0 when the message's month was detached before the copy came, so
-- that its position is not known here. A copy's own position is drawn from the same sequence under the
-- same lock, so that inbox and copies can be read as one stream. The four columns after it are the copy's identity.
create table copies (
    position    bigint not null,
    source      text not null,
    channel     text not null,
    sequence    bigint not null,
    stamped_at  timestamptz not null,
    received_at timestamptz not null default now(),
    original    bigint not null,
    unique (source, channel, sequence, stamped_at)
);
create index copies_position on copies (position);
create index copies_original on copies (original);

-- Appends messages of which some are copies of others: those whose of_source is not null. A copy is stored under the
-- identity of what it is a copy of, unless that is there already, and noted in both cases. One whose payload is another
-- than what is there under that identity is no copy, but a message of its own, for nothing may be lost. What is there
-- already, as a message or as a copy, changes nothing. Returns how many messages are new.
--
-- A copy of what was in a detached month is noted and not stored: its message has been in the log, and has its verdict. The
-- payload cannot be compared with what is not there.
--
-- A function has all of its arguments before it takes the lock, so a sender that hangs holds up nobody; and each of its
-- statements sees what was committed before the lock was had, as no single statement would.
-- +goose StatementBegin
create function append_messages(sources text[], channels text[], sequences bigint[], stamps timestamptz[], payloads bytea[],
    of_sources text[], of_channels text[], of_sequences bigint[], of_stamps timestamptz[]) returns bigint
    language plpgsql set search_path = pg_catalog, public, pg_temp as $$
declare
    new bigint;
    own bigint;
begin
    perform pg_advisory_xact_lock(hashtext('orderbox inbox'));
    insert into public.inbox (source, channel, sequence, stamped_at, payload)
    select coalesce(m.of_source, m.source), coalesce(m.of_channel, m.channel), coalesce(m.of_sequence, m.sequence),
        coalesce(m.of_stamp, m.stamp), m.payload
    from unnest(sources, channels, sequences, stamps, payloads, of_sources, of_channels, of_sequences, of_stamps) with ordinality
        as m (source, channel, sequence, stamp, payload, of_source, of_channel, of_sequence, of_stamp, row)
    where not exists (
        select
        from public.copies as c
        where c.source = m.source
            and c.channel = m.channel
            and c.sequence = m.sequence
            and c.stamped_at = m.stamp
    )
    and not exists (
        select
        from public.detached as d
        where d.source = m.of_source
            and d.channel = m.of_channel
            and d.last_sequence >= m.of_sequence
            and d.last_stamp >= m.of_stamp
    )
    order by m.row
    on conflict (source, channel, sequence, stamped_at) do nothing;
    get diagnostics new = row_count;
    insert into public.copies (position, source, channel, sequence, stamped_at, original)
    select nextval('public.inbox_position_seq'), m.source, m.channel, m.sequence, m.stamp, 0
    from unnest(sources, channels, sequences, stamps, of_sources, of_channels, of_sequences, of_stamps) with ordinality
        as m (source, channel, sequence, stamp, of_source, of_channel, of_sequence, of_stamp, row)
    where exists (
        select
        from public.detached as d
        where d.source = m.of_source
            and d.channel = m.of_channel
            and d.last_sequence >= m.of_sequence
            and d.last_stamp >= m.of_stamp
    )
    and not exists (
        select
        from public.inbox as i
        where i.source = m.of_source
            and i.channel = m.of_channel
            and i.sequence = m.of_sequence
            and i.stamped_at = m.of_stamp
    )
    order by m.row
    on conflict (source, channel, sequence, stamped_at) do nothing;
    insert into public.copies (position, source, channel, sequence, stamped_at, original)
    select nextval('public.inbox_position_seq'), m.source, m.channel, m.sequence, m.stamp, i.position
    from unnest(sources, channels, sequences, stamps, payloads, of_sources, of_channels, of_sequences, of_stamps) with ordinality
        as m (source, channel, sequence, stamp, payload, of_source, of_channel, of_sequence, of_stamp, row)
    join public.inbox as i on i.source = m.of_source
        and i.channel = m.of_channel
        and i.sequence = m.of_sequence
        and i.stamped_at = m.of_stamp
        and i.payload = m.payload
    order by m.row
    on conflict (source, channel, sequence, stamped_at) do nothing;
    insert into public.inbox (source, channel, sequence, stamped_at, payload)
    select m.source, m.channel, m.sequence, m.stamp, m.payload
    from unnest(sources, channels, sequences, stamps, payloads, of_sources) with ordinality
        as m (source, channel, sequence, stamp, payload, of_source, row)
    where m.of_source is not null
        and not exists (
            select
            from public.copies as c
            where c.source = m.source
                and c.channel = m.channel
                and c.sequence = m.sequence
                and c.stamped_at = m.stamp
        )
    order by m.row
    on conflict (source, channel, sequence, stamped_at) do nothing;
    get diagnostics own = row_count;
    return new + own;
end $$;
-- +goose StatementEnd
revoke execute on function append_messages(text[], text[], bigint[], timestamptz[], bytea[], text[], text[], bigint[], timestamptz[]) from public;

grant insert, select on copies to orderbox;
grant select on copies to orderbox_reader;
grant usage on sequence inbox_position_seq to orderbox;
grant execute on function append_messages(text[], text[], bigint[], timestamptz[], bytea[], text[], text[], bigint[], timestamptz[]) to orderbox;
