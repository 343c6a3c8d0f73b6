-- What was taken out of the log on purpose is known, so that it is told from what was lost.

-- +goose Up

-- A row for each channel of a partition that was detached: how many messages, from which position to which, and the last
-- of them as its broker counted and stamped it.
create table detached (
    partition     text not null,
    source        text not null,
    channel       text not null,
    messages      bigint not null,
    first         bigint not null,
    last          bigint not null,
    last_sequence bigint not null,
    last_stamp    timestamptz not null,
    detached_at   timestamptz not null default now(),
    primary key (partition, source, channel)
);

-- For administrators: detaches the oldest month, which is over and which every generation has projected, and notes what
-- was in it. The table stays, by its name; whether it is archived or dropped is theirs to decide.
--
-- Reading a month takes long, so nothing is locked meanwhile: whoever appended would wait, and be waited for.
-- +goose StatementBegin
create function detach_inbox_partition(partition text) returns bigint
    language plpgsql set search_path = pg_catalog, public, pg_temp set lock_timeout = '3s' as $$
declare
    bounds     text[];
    newest     bigint;
    total      bigint;
    late       boolean;
    generation text;
    checkpoint bigint;
begin
    select regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') into bounds
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'public.inbox'::regclass
        and c.relname = partition;
    if bounds is null then
        raise exception '% is no month of the inbox', partition;
    elsif bounds[2]::timestamptz > now() then
        raise exception 'the month of % is not over', partition;
    elsif exists (select from public.inbox where stamped_at < bounds[1]::timestamptz and tableoid <> 'public.inbox_other'::regclass) then
        raise exception 'there is an older month than %', partition
            using hint = 'Detach that one before: what is noted is where the log begins.';
    end if;
    -- The last one of a channel is not the one that came last: one that was asked for again comes late.
    execute format('
        insert into public.detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
        select %L, source, channel, count(*), min(position), max(position),
            (array_agg(sequence order by stamped_at desc, sequence desc))[1], max(stamped_at)
        from public.%I
        group by source, channel', partition, partition);
    select coalesce(max(d.last), 0), coalesce(sum(d.messages), 0) into newest, total
    from public.detached as d
    where d.partition = detach_inbox_partition.partition;
    -- From here on no generation is ordered, which would begin without the month, and nothing comes into it.
    perform pg_advisory_xact_lock(hashtext('orderbox order'));
    execute format('lock table public.%I in share mode', partition);
    execute format('select exists (select from public.%I where position > %s)', partition, newest) into late;
    if late then
        raise exception 'a message came into % meanwhile', partition using hint = 'Try again.';
    elsif not exists (select from public.generations where state = 'current') then
        raise exception 'nothing is projected yet';
    end if;
    for generation in select name from public.generations where state <> 'trial' and to_regnamespace(name) is not null loop
        execute format('select position from %I.checkpoint', generation) into checkpoint;
        if checkpoint < newest then
            raise exception '% has not projected all of %', generation, partition
                using hint = 'Wait until it has; a previous generation can be dropped with orderbox replay --drop-previous.';
        end if;
    end loop;
    execute format('alter table public.inbox detach partition public.%I', partition);
    return total;
end $$;
-- +goose StatementEnd
revoke execute on function detach_inbox_partition(text) from public;

grant select on detached to orderbox, orderbox_reader;
