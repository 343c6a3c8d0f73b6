CREATE SCHEMA generation_1;
ALTER SCHEMA generation_1 OWNER TO orderbox;
CREATE FUNCTION public.append_messages(sources text[], channels text[], sequences bigint[], stamps timestamp with time zone[], payloads bytea[], of_sources text[], of_channels text[], of_sequences bigint[], of_stamps timestamp with time zone[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
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
ALTER FUNCTION public.append_messages(sources text[], channels text[], sequences bigint[], stamps timestamp with time zone[], payloads bytea[], of_sources text[], of_channels text[], of_sequences bigint[], of_stamps timestamp with time zone[]) OWNER TO orderbox_owner;
CREATE FUNCTION public.attach_inbox_partition(partition text, first_stamp timestamp with time zone, next_stamp timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET lock_timeout TO '3s'
    AS $$
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
ALTER FUNCTION public.attach_inbox_partition(partition text, first_stamp timestamp with time zone, next_stamp timestamp with time zone) OWNER TO orderbox_owner;
CREATE FUNCTION public.detach_inbox_partition(partition text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET lock_timeout TO '3s'
    AS $$
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
ALTER FUNCTION public.detach_inbox_partition(partition text) OWNER TO orderbox_owner;
CREATE FUNCTION public.prepare_inbox_partitions(months_ahead integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET lock_timeout TO '3s'
    AS $$
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
ALTER FUNCTION public.prepare_inbox_partitions(months_ahead integer) OWNER TO orderbox_owner;
CREATE TABLE generation_1.checkpoint (
    one boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    orders bigint NOT NULL,
    duplicates bigint NOT NULL,
    dead_letters bigint NOT NULL,
    decision bigint NOT NULL,
    CONSTRAINT checkpoint_one_check CHECK (one)
);
ALTER TABLE generation_1.checkpoint OWNER TO orderbox;
CREATE TABLE generation_1.dead_letter_counts (
    reason text NOT NULL,
    place text NOT NULL,
    state text NOT NULL,
    letters bigint NOT NULL
);
ALTER TABLE generation_1.dead_letter_counts OWNER TO orderbox;
CREATE TABLE generation_1.dead_letter_places (
    place text NOT NULL,
    "position" bigint NOT NULL
);
ALTER TABLE generation_1.dead_letter_places OWNER TO orderbox;
CREATE TABLE generation_1.dead_letters (
    "position" bigint NOT NULL,
    reason text NOT NULL,
    sentence text NOT NULL,
    violations jsonb NOT NULL,
    schema_version text NOT NULL,
    first bigint,
    original bigint,
    received_at timestamp with time zone NOT NULL,
    resolved bigint,
    discarded boolean DEFAULT false NOT NULL,
    state text GENERATED ALWAYS AS (
CASE
    WHEN (resolved IS NOT NULL) THEN 'resolved'::text
    WHEN discarded THEN 'discarded'::text
    ELSE 'open'::text
END) STORED NOT NULL
);
ALTER TABLE generation_1.dead_letters OWNER TO orderbox;
CREATE TABLE generation_1.deliveries (
    "position" bigint NOT NULL,
    name text NOT NULL,
    phone text NOT NULL,
    zip text NOT NULL,
    city text NOT NULL,
    address text NOT NULL,
    region text NOT NULL,
    email text NOT NULL
);
ALTER TABLE generation_1.deliveries OWNER TO orderbox;
CREATE TABLE generation_1.duplicates (
    "position" bigint NOT NULL,
    first bigint NOT NULL
);
ALTER TABLE generation_1.duplicates OWNER TO orderbox;
CREATE TABLE generation_1.items (
    "position" bigint NOT NULL,
    line integer NOT NULL,
    chrt_id bigint NOT NULL,
    track_number text NOT NULL,
    price bigint NOT NULL,
    rid text NOT NULL,
    name text NOT NULL,
    sale bigint NOT NULL,
    size text NOT NULL,
    total_price bigint NOT NULL,
    nm_id bigint NOT NULL,
    brand text NOT NULL,
    status bigint NOT NULL
);
ALTER TABLE generation_1.items OWNER TO orderbox;
CREATE TABLE generation_1.orders (
    "position" bigint NOT NULL,
    order_uid text NOT NULL,
    digest bytea NOT NULL,
    track_number text NOT NULL,
    entry text NOT NULL,
    locale text NOT NULL,
    internal_signature text NOT NULL,
    customer_id text NOT NULL,
    delivery_service text NOT NULL,
    shardkey text NOT NULL,
    sm_id bigint NOT NULL,
    date_created timestamp with time zone NOT NULL,
    date_created_text text NOT NULL,
    oof_shard text NOT NULL
);
ALTER TABLE generation_1.orders OWNER TO orderbox;
CREATE TABLE generation_1.payments (
    "position" bigint NOT NULL,
    transaction text NOT NULL,
    request_id text NOT NULL,
    currency text NOT NULL,
    provider text NOT NULL,
    amount bigint NOT NULL,
    payment_dt bigint NOT NULL,
    bank text NOT NULL,
    delivery_cost bigint NOT NULL,
    goods_total bigint NOT NULL,
    custom_fee bigint NOT NULL
);
ALTER TABLE generation_1.payments OWNER TO orderbox;
CREATE TABLE generation_1.reasons (
    code text NOT NULL,
    sentence text NOT NULL,
    help text NOT NULL
);
ALTER TABLE generation_1.reasons OWNER TO orderbox;
CREATE TABLE public.copies (
    "position" bigint NOT NULL,
    source text NOT NULL,
    channel text NOT NULL,
    sequence bigint NOT NULL,
    stamped_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    original bigint NOT NULL
);
ALTER TABLE public.copies OWNER TO orderbox_owner;
CREATE TABLE public.decisions (
    id bigint NOT NULL,
    "position" bigint NOT NULL,
    kind text NOT NULL,
    entry bigint,
    decided_at timestamp with time zone DEFAULT now() NOT NULL,
    decided_by text NOT NULL,
    note text NOT NULL,
    CONSTRAINT decisions_check CHECK (((entry IS NOT NULL) = (kind = ANY (ARRAY['retry'::text, 'amend'::text])))),
    CONSTRAINT decisions_kind_check CHECK ((kind = ANY (ARRAY['retry'::text, 'amend'::text, 'discard'::text, 'reopen'::text])))
);
ALTER TABLE public.decisions OWNER TO orderbox_owner;
ALTER TABLE public.decisions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.decisions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.detached (
    partition text NOT NULL,
    source text NOT NULL,
    channel text NOT NULL,
    messages bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    last_sequence bigint NOT NULL,
    last_stamp timestamp with time zone NOT NULL,
    detached_at timestamp with time zone DEFAULT now() NOT NULL,
    archive text,
    sha256 text
);
ALTER TABLE public.detached OWNER TO orderbox_owner;
CREATE TABLE public.generations (
    name text NOT NULL,
    fingerprint text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    state text NOT NULL,
    base bigint,
    status text DEFAULT ''::text NOT NULL,
    CONSTRAINT generations_state_check CHECK ((state = ANY (ARRAY['building'::text, 'current'::text, 'previous'::text, 'trial'::text])))
);
ALTER TABLE public.generations OWNER TO orderbox_owner;
CREATE TABLE public.goose_db_version (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.goose_db_version OWNER TO orderbox_owner;
ALTER TABLE public.goose_db_version ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.goose_db_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.inbox (
    "position" bigint NOT NULL,
    source text NOT NULL,
    channel text NOT NULL,
    sequence bigint NOT NULL,
    stamped_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    payload bytea NOT NULL,
    original bigint
)
PARTITION BY RANGE (stamped_at);
ALTER TABLE public.inbox OWNER TO orderbox_owner;
COMMENT ON TABLE public.inbox IS 'every message byte for byte, append-only, in commit order';
COMMENT ON COLUMN public.inbox."position" IS 'order of commit: appenders hold a lock from before it is given until they commit';
CREATE TABLE public.inbox_other (
    "position" bigint NOT NULL,
    source text NOT NULL,
    channel text NOT NULL,
    sequence bigint NOT NULL,
    stamped_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    payload bytea NOT NULL,
    original bigint
);
ALTER TABLE public.inbox_other OWNER TO orderbox_owner;
ALTER TABLE public.inbox ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.inbox_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.schemas (
    id bigint NOT NULL,
    version text NOT NULL,
    fingerprint text NOT NULL,
    source bytea NOT NULL,
    after bigint NOT NULL,
    adopted_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.schemas OWNER TO orderbox_owner;
ALTER TABLE public.schemas ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.schemas_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY public.inbox ATTACH PARTITION public.inbox_other DEFAULT;
ALTER TABLE ONLY generation_1.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (one);
ALTER TABLE ONLY generation_1.dead_letter_counts
    ADD CONSTRAINT dead_letter_counts_pkey PRIMARY KEY (reason, place, state);
ALTER TABLE ONLY generation_1.dead_letter_places
    ADD CONSTRAINT dead_letter_places_pkey PRIMARY KEY ("position", place);
ALTER TABLE ONLY generation_1.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY generation_1.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY generation_1.duplicates
    ADD CONSTRAINT duplicates_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY generation_1.items
    ADD CONSTRAINT items_pkey PRIMARY KEY ("position", line);
ALTER TABLE ONLY generation_1.orders
    ADD CONSTRAINT orders_order_uid_key UNIQUE (order_uid);
ALTER TABLE ONLY generation_1.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY generation_1.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY generation_1.reasons
    ADD CONSTRAINT reasons_pkey PRIMARY KEY (code);
ALTER TABLE ONLY public.copies
    ADD CONSTRAINT copies_source_channel_sequence_stamped_at_key UNIQUE (source, channel, sequence, stamped_at);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.detached
    ADD CONSTRAINT detached_pkey PRIMARY KEY (partition, source, channel);
ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.goose_db_version
    ADD CONSTRAINT goose_db_version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_source_channel_sequence_stamped_at_key UNIQUE (source, channel, sequence, stamped_at);
ALTER TABLE ONLY public.inbox_other
    ADD CONSTRAINT inbox_other_source_channel_sequence_stamped_at_key UNIQUE (source, channel, sequence, stamped_at);
ALTER TABLE ONLY public.schemas
    ADD CONSTRAINT schemas_pkey PRIMARY KEY (id);
CREATE INDEX dead_letter_places_place ON generation_1.dead_letter_places USING btree (place, "position");
CREATE INDEX dead_letters_first ON generation_1.dead_letters USING btree (first) WHERE (first IS NOT NULL);
CREATE INDEX dead_letters_original ON generation_1.dead_letters USING btree (original, "position") WHERE (original IS NOT NULL);
CREATE INDEX dead_letters_reason ON generation_1.dead_letters USING btree (reason, state, "position") WHERE (original IS NULL);
CREATE INDEX dead_letters_received ON generation_1.dead_letters USING btree (received_at) WHERE (original IS NULL);
CREATE INDEX dead_letters_state ON generation_1.dead_letters USING btree (state, "position") WHERE (original IS NULL);
CREATE INDEX duplicates_first ON generation_1.duplicates USING btree (first);
CREATE INDEX orders_track_number ON generation_1.orders USING btree (track_number, "position");
CREATE INDEX copies_original ON public.copies USING btree (original);
CREATE INDEX copies_position ON public.copies USING btree ("position");
CREATE INDEX decisions_position ON public.decisions USING btree ("position", id);
CREATE UNIQUE INDEX generations_one_of_each ON public.generations USING btree (state) WHERE (state <> 'trial'::text);
CREATE INDEX inbox_original ON ONLY public.inbox USING btree (original) WHERE (original IS NOT NULL);
CREATE INDEX inbox_other_original_idx ON public.inbox_other USING btree (original) WHERE (original IS NOT NULL);
CREATE INDEX inbox_position ON ONLY public.inbox USING btree ("position");
CREATE INDEX inbox_other_position_idx ON public.inbox_other USING btree ("position");
ALTER INDEX public.inbox_original ATTACH PARTITION public.inbox_other_original_idx;
ALTER INDEX public.inbox_position ATTACH PARTITION public.inbox_other_position_idx;
ALTER INDEX public.inbox_source_channel_sequence_stamped_at_key ATTACH PARTITION public.inbox_other_source_channel_sequence_stamped_at_key;
ALTER TABLE ONLY generation_1.dead_letter_counts
    ADD CONSTRAINT dead_letter_counts_reason_fkey FOREIGN KEY (reason) REFERENCES generation_1.reasons(code);
ALTER TABLE ONLY generation_1.dead_letter_places
    ADD CONSTRAINT dead_letter_places_position_fkey FOREIGN KEY ("position") REFERENCES generation_1.dead_letters("position") DEFERRABLE;
ALTER TABLE ONLY generation_1.dead_letters
    ADD CONSTRAINT dead_letters_first_fkey FOREIGN KEY (first) REFERENCES generation_1.orders("position") DEFERRABLE;
ALTER TABLE ONLY generation_1.dead_letters
    ADD CONSTRAINT dead_letters_reason_fkey FOREIGN KEY (reason) REFERENCES generation_1.reasons(code);
ALTER TABLE ONLY generation_1.deliveries
    ADD CONSTRAINT deliveries_position_fkey FOREIGN KEY ("position") REFERENCES generation_1.orders("position") DEFERRABLE;
ALTER TABLE ONLY generation_1.duplicates
    ADD CONSTRAINT duplicates_first_fkey FOREIGN KEY (first) REFERENCES generation_1.orders("position") DEFERRABLE;
ALTER TABLE ONLY generation_1.items
    ADD CONSTRAINT items_position_fkey FOREIGN KEY ("position") REFERENCES generation_1.orders("position") DEFERRABLE;
ALTER TABLE ONLY generation_1.payments
    ADD CONSTRAINT payments_position_fkey FOREIGN KEY ("position") REFERENCES generation_1.orders("position") DEFERRABLE;
ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_base_fkey FOREIGN KEY (base) REFERENCES public.schemas(id);
GRANT USAGE ON SCHEMA generation_1 TO orderbox_reader;
GRANT USAGE ON SCHEMA public TO orderbox;
GRANT USAGE ON SCHEMA public TO orderbox_reader;
REVOKE ALL ON FUNCTION public.append_messages(sources text[], channels text[], sequences bigint[], stamps timestamp with time zone[], payloads bytea[], of_sources text[], of_channels text[], of_sequences bigint[], of_stamps timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_messages(sources text[], channels text[], sequences bigint[], stamps timestamp with time zone[], payloads bytea[], of_sources text[], of_channels text[], of_sequences bigint[], of_stamps timestamp with time zone[]) TO orderbox;
REVOKE ALL ON FUNCTION public.attach_inbox_partition(partition text, first_stamp timestamp with time zone, next_stamp timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.detach_inbox_partition(partition text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.prepare_inbox_partitions(months_ahead integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.prepare_inbox_partitions(months_ahead integer) TO orderbox;
GRANT SELECT ON TABLE generation_1.checkpoint TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.dead_letter_counts TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.dead_letter_places TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.dead_letters TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.deliveries TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.duplicates TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.items TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.orders TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.payments TO orderbox_reader;
GRANT SELECT ON TABLE generation_1.reasons TO orderbox_reader;
GRANT SELECT,INSERT ON TABLE public.copies TO orderbox;
GRANT SELECT ON TABLE public.copies TO orderbox_reader;
GRANT SELECT,INSERT ON TABLE public.decisions TO orderbox;
GRANT SELECT ON TABLE public.decisions TO orderbox_reader;
GRANT SELECT ON TABLE public.detached TO orderbox;
GRANT SELECT ON TABLE public.detached TO orderbox_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.generations TO orderbox;
GRANT SELECT ON TABLE public.generations TO orderbox_reader;
GRANT SELECT ON TABLE public.goose_db_version TO orderbox;
GRANT SELECT ON TABLE public.goose_db_version TO orderbox_reader;
GRANT SELECT,INSERT ON TABLE public.inbox TO orderbox;
GRANT SELECT ON TABLE public.inbox TO orderbox_reader;
GRANT USAGE ON SEQUENCE public.inbox_position_seq TO orderbox;
GRANT SELECT,INSERT ON TABLE public.schemas TO orderbox;
GRANT SELECT ON TABLE public.schemas TO orderbox_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE orderbox GRANT USAGE ON SCHEMAS  TO orderbox_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE orderbox GRANT SELECT ON TABLES  TO orderbox_reader;
