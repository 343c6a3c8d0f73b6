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

-- For administrators: detaches a month that is over and that every generation has projected, and notes what was in it.
-- The table stays, by its name; whether it is archived or dropped is theirs to decide.
-- +goose StatementBegin
create function detach_inbox_partition(partition text) returns bigint
    language plpgsql set search_path = pg_catalog, public, pg_temp set lock_timeout = '3s' as $$
declare
    until      timestamptz;
    newest     bigint;
    total      bigint;
    generation text;
    checkpoint bigint;
begin
    perform pg_advisory_xact_lock(hashtext('orderbox inbox'));
    select substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz into until
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'public.inbox'::regclass
        and c.relname = partition;
    if until is null then
        raise exception '% is no month of the inbox', partition;
    elsif until > now() then
        raise exception 'the month of % is not over', partition;
    end if;
    execute format('
        insert into public.detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
        select %L, source, channel, count(*), min(position), max(position),
            (array_agg(sequence order by position desc))[1], (array_agg(stamped_at order by position desc))[1]
        from public.%I
        group by source, channel', partition, partition);
    select coalesce(max(d.last), 0), coalesce(sum(d.messages), 0) into newest, total
    from public.detached as d
    where d.partition = detach_inbox_partition.partition;
    if not exists (select from public.generations where state = 'current') then
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
