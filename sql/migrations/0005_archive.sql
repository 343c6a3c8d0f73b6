-- Months of the log go into files and come back, and none is kept from it by a message with a wrong stamp.

-- +goose Up

-- archive is the file that a month's messages were written to before its table was dropped, and sha256 the hash that
-- stands at the file's end. Null where the table is still there, or was dropped by hand.
alter table detached add column archive text;
alter table detached add column sha256 text;

-- For administrators: makes a table of messages a month of the inbox, with those that lie in inbox_other because the month
-- was not there when they came, and says how many these were. It takes back what detach_inbox_partition notes.
-- +goose StatementBegin
create function attach_inbox_partition(partition text, first_stamp timestamptz, next_stamp timestamptz) returns bigint
    language plpgsql set search_path = pg_catalog, public, pg_temp set lock_timeout = '3s' as $$
declare
    moved bigint;
begin
    begin
        execute format('
            with moved as (delete from public.inbox_other where stamped_at >= %L and stamped_at < %L returning *)
            insert into public.%I select * from moved', first_stamp, next_stamp, partition);
        get diagnostics moved = row_count;
    exception when unique_violation then
        raise exception 'messages of % came again while it was away, and have verdicts of their own', partition
            using hint = 'What came again is in the log: orderbox replay --without-detached judges that and leaves the rest behind.';
    end;
    if exists (select from public.detached as d where d.partition = attach_inbox_partition.partition) then
        -- A generation that is being built has passed the month already.
        perform pg_advisory_xact_lock(hashtext('orderbox order'));
        if exists (select from public.generations where state = 'building') then
            raise exception 'a replay is under way'
                using hint = 'Wait until it is over, or give it up with orderbox replay --cancel.';
        end if;
    end if;
    execute format('alter table public.inbox attach partition public.%I for values from (%L) to (%L)', partition, first_stamp, next_stamp);
    delete from public.detached as d where d.partition = attach_inbox_partition.partition;
    return moved;
end $$;
-- +goose StatementEnd
revoke execute on function attach_inbox_partition(text, timestamptz, timestamptz) from public;

-- As before, but that a few messages which came before their month had a partition, because a clock was wrong or nothing
-- could be prepared, do not keep it in inbox_other. Many do: whoever appends is not to wait for them. They are taken
-- out of there when the month is archived.
-- +goose StatementBegin
create or replace function prepare_inbox_partitions(months_ahead integer) returns void
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp set lock_timeout = '3s' as $$
declare
    first_day timestamptz;
    next_day  timestamptz;
    partition text;
    early     bigint;
begin
    perform pg_advisory_xact_lock(hashtext('orderbox partitions'));
    for ahead in 0 .. least(months_ahead, 24) loop
        first_day := (date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead)) at time zone 'utc';
        next_day := (date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead + 1)) at time zone 'utc';
        partition := 'inbox_' || to_char(first_day at time zone 'utc', 'YYYY_MM');
        continue when to_regclass('public.' || partition) is not null;
        select count(*) into early
        from (select from public.inbox_other where stamped_at >= first_day and stamped_at < next_day limit 10001) as e;
        continue when early > 10000;
        if early = 0 then
            execute format('create table public.%I partition of public.inbox for values from (%L) to (%L)',
                partition, first_day, next_day);
        else
            execute format('create table public.%I (like public.inbox including defaults including indexes)', partition);
            perform public.attach_inbox_partition(partition, first_day, next_day);
        end if;
    end loop;
end $$;
-- +goose StatementEnd
