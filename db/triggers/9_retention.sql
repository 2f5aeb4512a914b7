-- db/triggers/9_retention.sql: partitions, and what is removed after its time.

-- Housekeeping. Instances do it in steps, each of them a short transaction under a lock time-out of
-- milliseconds, so that no other session waits: see app/scheduler/upkeep.py. Functions for which only the owner of
-- the tables has the rights run with those rights, for the roles that are granted EXECUTE.

-- Lists the partitions of executions with the days that they hold, by their bounds and not by their names; the
-- default partition has neither start nor end. The settings are those under which the bounds can be parsed.
create or replace function tocsin.partitions()
returns table (partition text, starts_at timestamptz, ends_at timestamptz, is_default boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
begin
    return query
    select found.relname::text,
        case when found.bounds like '% FROM (MINVALUE)%' then '-infinity'
            else substring(found.bounds from 'FROM [(]''([^'']+)''[)]')::timestamptz end,
        case when found.bounds like '% TO (MAXVALUE)%' then 'infinity'
            else substring(found.bounds from 'TO [(]''([^'']+)''[)]')::timestamptz end,
        found.bounds = 'DEFAULT'
    from (
        select c.relname, pg_get_expr(c.relpartbound, c.oid) as bounds
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'tocsin.executions'::regclass
    ) as found
    order by 2, 1;
end $$;

-- Makes sure that a day (UTC) has its partition, into which rows of that day in the default partition are moved;
-- returns whether a partition was made. Attaching one locks and scans the default partition: none is made if that
-- has more than `most_bytes`, as writers of a day without a partition would have to wait.
create or replace function tocsin.add_partition(day date, most_bytes bigint default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD'
set lock_timeout = '50ms' as $$
declare
    partition constant text := 'executions_' || to_char(day, 'YYYYMMDD');
    lower_bound constant timestamptz := day::timestamp at time zone 'UTC';
    upper_bound constant timestamptz := (day + 1)::timestamp at time zone 'UTC';
begin
    if exists (select from tocsin.partitions() as p where p.starts_at <= lower_bound and p.ends_at >= upper_bound) then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtext('tocsin.executions'));
    if exists (select from tocsin.partitions() as p where p.starts_at <= lower_bound and p.ends_at >= upper_bound) then
        return false;
    end if;
    if to_regclass('tocsin.' || partition) is not null then
        raise exception using errcode = 'duplicate_table',
            message = format('tocsin.%s exists and is not the partition of that day', partition),
            hint = 'Rename or drop it, then: select tocsin.add_partitions();';
    end if;
    if pg_relation_size('tocsin.executions_default') > most_bytes then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('tocsin.executions_default holds %s, too much to take over while others write',
                pg_size_pretty(pg_relation_size('tocsin.executions_default'))),
            hint = 'In a quiet hour: select tocsin.add_partitions();';
    end if;
    execute format(
        'create table tocsin.%I (like tocsin.executions including defaults including constraints) using heap',
        partition);
    if exists (select from tocsin.executions_default
               where finished_at >= lower_bound and finished_at < upper_bound) then
        lock table tocsin.executions_default in access exclusive mode;
        execute format(
            'with moved as (delete from tocsin.executions_default
                            where finished_at >= $1 and finished_at < $2 returning *)
             insert into tocsin.%I select * from moved', partition)
            using lower_bound, upper_bound;
    end if;
    execute format(
        'alter table tocsin.executions attach partition tocsin.%I for values from (%L) to (%L)',
        partition, lower_bound, upper_bound);
    return true;
end $$;

-- Adds the partition of each day from today to `days` ahead; returns how many were added.
create or replace function tocsin.add_partitions(days integer default 7)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    added integer := 0;
begin
    for offset_days in 0..days loop
        added := added + tocsin.add_partition(
            (clock_timestamp() at time zone 'UTC')::date + offset_days)::integer;
    end loop;
    return added;
end $$;

-- Drops a partition of executions that ended before an instant at least a day ago. The partition and the default
-- one are locked first: a session that reads them is met before the whole table is locked, which has to be locked
-- as well, since Postgres cannot detach concurrently beside a default partition.
create or replace function tocsin.drop_partition(partition text, keep_from timestamptz)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    held text;
begin
    if not exists (
        select from tocsin.partitions() as p
        where p.partition = drop_partition.partition and p.partition ~ '^executions_[0-9]{8}$'
          and p.ends_at <= least(keep_from, clock_timestamp() - interval '1 day')) then
        return false;
    end if;
    for held in
        select p.partition from tocsin.partitions() as p
        where p.partition = drop_partition.partition or p.is_default
    loop
        execute format('lock table only tocsin.%I in access exclusive mode nowait', held);
    end loop;
    lock table only tocsin.executions in access exclusive mode;
    execute format('drop table tocsin.%I', partition);
    return true;
end $$;

-- Deletes executions that ended before `keep_from` from some pages of the default partition.
create or replace function tocsin.prune_default(
    first_page bigint, pages bigint, keep_from timestamptz
) returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    deleted bigint;
begin
    delete from tocsin.executions_default
    where ctid >= format('(%s,0)', first_page)::tid and ctid < format('(%s,0)', first_page + pages)::tid
      and finished_at < least(keep_from, clock_timestamp() - interval '1 day');
    get diagnostics deleted = row_count;
    return deleted;
end $$;

-- Deletes old entries of the audit log among the next `most` after an id; `last_id` is where to go
-- on, null at the end: the log is in the order of its ids.
create or replace function tocsin.prune_audit_log(
    after_id bigint, most bigint, keep_from timestamptz, out entries bigint, out last_id bigint
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    ended constant timestamptz := least(keep_from, clock_timestamp() - interval '1 day');
    oldest timestamptz;
begin
    select max(id), min(at) into last_id, oldest
    from (select id, at from tocsin.audit_log where id > after_id order by id limit most) as following;
    delete from tocsin.audit_log where id > after_id and id <= last_id and at < ended;
    get diagnostics entries = row_count;
    if oldest >= ended then
        last_id := null;
    end if;
end $$;

-- Deletes the one-off jobs that finished before `keep_from`, in some pages of the table. With a single page they are
-- deleted one by one, and those that a user's foreign key or trigger keeps are counted; with several pages such a
-- refusal is raised, and the caller asks for fewer pages.
create or replace function tocsin.prune_jobs(
    first_page bigint, pages bigint, keep_from timestamptz,
    out jobs bigint, out refused bigint, out refusal text
) language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    expired tid[];
    one tid;
begin
    jobs := 0;
    refused := 0;
    set constraints all immediate;  -- what is deferred would refuse at COMMIT
    expired := array(
        select ctid from tocsin.jobs
        where ctid >= format('(%s,0)', first_page)::tid and ctid < format('(%s,0)', first_page + pages)::tid
          and run_at is not null and next_run is null and planned_at is not null
          and plan_error is null and pending_runs = 0 and run_of is null and last_finished_at < keep_from
        for update skip locked);
    if pages > 1 then
        delete from tocsin.jobs where ctid = any (expired);
        get diagnostics jobs = row_count;
        return;
    end if;
    foreach one in array expired loop
        begin
            delete from tocsin.jobs where ctid = one;
            jobs := jobs + 1;
        exception
            when lock_not_available then
                raise;
            when others then
                refused := refused + 1;
                refusal := sqlerrm;
        end;
    end loop;
end $$;

-- Does all housekeeping at once, in one transaction, by hand: for few rows. `tocsin prune` does it in steps.
create or replace function tocsin.prune(
    retention_days numeric, out partitions integer, out jobs bigint
) language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    keep_from constant timestamptz := clock_timestamp() - retention_days * interval '1 day';
    pages constant bigint := 4294967295;
begin
    select count(*) filter (where tocsin.drop_partition(p.partition, keep_from)) into partitions
    from tocsin.partitions() as p where p.ends_at <= keep_from;
    perform tocsin.prune_default(0, pages, keep_from);
    perform tocsin.prune_audit_log(0, 9223372036854775807, keep_from);
    jobs := (select p.jobs from tocsin.prune_jobs(0, pages, keep_from) as p);
end $$;

revoke all on function tocsin.add_partition, tocsin.add_partitions, tocsin.drop_partition,
    tocsin.prune_default, tocsin.prune_audit_log, tocsin.prune_jobs, tocsin.prune from public;

-- Adds the partitions of a week, unless another session holds a lock just now; instances try again.
do $$ begin
    perform tocsin.add_partitions();
exception when lock_not_available then
    raise warning 'the partitions of the coming week could not be added: %', sqlerrm;
end $$;
