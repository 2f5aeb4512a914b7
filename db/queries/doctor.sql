-- What `tocsin doctor` asks. Each answer is a number or a word that app/cli/doctor.py judges.

-- name: hurry
-- Waits for no lock longer than this: a locked table is to be told, not waited for.
select set_config('lock_timeout', '1s', false), set_config('statement_timeout', '10s', false);

-- name: sessions
-- Sessions of others in a transaction, from catalogues and views of the present alone: a session that
-- has a table of Tocsin's locked must not keep the doctor from reporting it.
with locks as (
    select l.pid, c.relname, l.granted, l.mode,
        l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') as stops
    from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    where l.locktype = 'relation' and n.nspname = 'tocsin' and c.relkind in ('r', 'p')
      and l.database = (select oid from pg_database where datname = current_database())
), held as (
    select pid,
        array_agg(distinct format('%s on tocsin.%s', mode, relname)) filter (where stops and granted) as table_locks,
        array_agg(distinct format('%s on tocsin.%s', mode, relname)) filter (where stops and not granted) as waiting_locks,
        bool_or(granted and relname = 'jobs' and mode in ('RowShareLock', 'RowExclusiveLock')) as locks_rows
    from locks group by pid
)
select a.pid, coalesce(a.usename::text, '') as user, coalesce(a.application_name, '') as application_name,
    coalesce(a.state, '') as state,
    coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8 as seconds,
    coalesce(held.table_locks, '{}') as table_locks, coalesce(held.waiting_locks, '{}') as waiting_locks,
    coalesce(held.locks_rows, false) as locks_rows
from pg_stat_activity a left join held using (pid)
where a.datname = current_database() and a.pid <> pg_backend_pid()
  and (a.backend_type is null or a.backend_type = 'client backend')
  and (a.xact_start is not null or held.pid is not null);

-- name: vitals
-- All vitals at once; every part is an index probe, a catalogue or a view of the present. Jobs of a kind
-- that no instance has are not late: more instances would not help. They are a finding of their own.
with had as (
    select array_agg(kind) as kinds
    from (select kind from tocsin.kinds union values ('http'), ('amqp')) as known
    where tocsin.has_kind(kind)
)
select
    clock_timestamp() as database_now,
    current_setting('server_version') as server_version,
    pg_is_in_recovery() as standby,
    current_setting('synchronous_commit') as synchronous_commit,
    pg_notification_queue_usage()::float8 as notification_queue_usage,
    (select count(*) from tocsin.connected_instances()) as instances,
    (select rtrim(tocsin.told_at(p.paused_at) || '.' || tocsin.pause_in_words(to_jsonb(p) - 'tag'), '.')
     from tocsin.pauses p where p.scope = 0) as paused,
    (select coalesce(extract(epoch from now() - min(greatest(next_run, locked_until))), 0)::float8
     from tocsin.jobs
     where tocsin.is_claimable(jobs)
       and kind = any ((select kinds from had)::text[])
       and greatest(next_run, locked_until) < now()) as overdue_seconds,
    (select coalesce(j.name, j.id::text) || ': ' || e.detail
     from (select coalesce(run_of, id) as id from tocsin.jobs
           where tocsin.is_claimable(jobs)
             and kind = any ((select kinds from had)::text[])
             and greatest(next_run, locked_until) < now() - :late_seconds::float8 * interval '1 second'
           order by greatest(next_run, locked_until) limit 1) as overdue
     join tocsin.jobs j using (id) cross join lateral tocsin.explain(j.id) as e limit 1) as overdue_why,
    (select coalesce(extract(epoch from now() - min(locked_until)), 0)::float8 from tocsin.jobs
     where tocsin.is_claimable(jobs)
       and greatest(next_run, locked_until) < now() and locked_until is not null) as stuck_lease_seconds,
    (select coalesce(extract(epoch from now() - min(edited_at)), 0)::float8 from tocsin.jobs
     where tocsin.is_unplanned(jobs)) as unplanned_seconds,
    (select count(*) from generate_series(0, 2) as ahead
     where not exists (
         select from tocsin.partitions()
         where starts_at <= now() + ahead * interval '1 day' and ends_at > now() + ahead * interval '1 day'))
        as missing_partitions,
    (select coalesce(sum(pg_stat_get_live_tuples(format('tocsin.%I', partition)::regclass)), 0)::bigint
     from tocsin.partitions() where is_default) as default_rows,
    (select count(*) from tocsin.partitions()
     where ends_at < now() - (:retention_days::numeric + 2) * interval '1 day') as expired_days,
    array(
        select format('%L since %s', gid, to_char(prepared at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
        from pg_prepared_xacts
        where database = current_database() and prepared < now() - interval '5 minutes'
        order by prepared) as prepared_transactions,
    coalesce((select extract(epoch from clock_timestamp() - trusted)::float8
              from tocsin.trusted_clock), 0)::float8 as untrusted_seconds,
    coalesce((select extract(epoch from finished_at - clock_timestamp())::float8
              from tocsin.executions order by id desc limit 1), 0)::float8 as newest_ahead_seconds,
    (select count(*) from pg_trigger
     where tgrelid = 'tocsin.jobs'::regclass and tgenabled in ('O', 'A')
       and tgname in ('jobs_100_plan_insert', 'jobs_900_wake_update')) as waking_triggers;

-- name: gone
-- Leases in the name of instances of which no session is there.
select locked_by as instance, count(*) as jobs, max(locked_until) as until
from tocsin.jobs
where locked_until is not null and locked_until > now() and locked_by is not null
group by locked_by
having not tocsin.is_connected(locked_by)
order by 1;

-- name: upkeep
-- What kept steps of the upkeep from their end, and what refused to go.
select step || ': ' || coalesce(error, format('%s rows refuse to go', refused)) as trouble
from tocsin.upkeep
where error is not null or refused > 0
order by step;

-- name: invalid
-- Jobs that take a correction to run again, among the newest :most of jobs_aside that are invalid.
select called, plan_error
from (
    select j.id, coalesce(j.name, j.id::text) as called, j.plan_error, j.paused_at from tocsin.jobs j
    where tocsin.is_aside(j) and tocsin.aside_state(j) = 'invalid'
    order by j.id desc limit :most::bigint
) as invalid
where paused_at is null
order by id desc;

-- name: calendars
-- The calendars that jobs, or windows of maintenance, use.
select c.name, c.error, case when not isempty(c.times * tstzmultirange(tstzrange(now(), null)))
        then least(upper(c.times), '2200-01-01 00:00Z') end as ends_at, used.jobs
from tocsin.calendars c
cross join lateral (
    select count(*) as jobs from (select from tocsin.job_calendars u where u.calendar = c.name limit 1000) as u) as used
where c.worked_out_at is not null
  and (used.jobs > 0 or exists (select from tocsin.maintenance w where w.calendar = c.name))
order by c.error is null, ends_at nulls first, c.name;

-- name: maintenance
select w.tag, w.reason, least(upper(now_range.time), '2200-01-01 00:00Z') as ends_at
from tocsin.maintenance w
cross join lateral (select t as time from unnest(tocsin.window_times(w)) as t where t @> now()) as now_range
order by w.tag nulls first, ends_at;

-- name: runs
-- What is wrong with the newer runs beside the plan.
select coalesce(j.name, u.job_id::text) as called, u.problem
from tocsin.unsound_runs(:most::bigint) as u left join tocsin.jobs j on j.id = u.job_id
order by u.job_id desc;

-- name: flows
-- Flows on pause with jobs that are due, permits of instances of which no session is there, and limits without a job
-- that waits or executes: among the first :most flows of each, in the order of their keys.
with recursive keys as (
    (select flow_key, 1 as place from tocsin.jobs where tocsin.is_flow_claimable(jobs) order by flow_key limit 1)
    union all
    select (
        select j.flow_key from tocsin.jobs j
        where tocsin.is_flow_claimable(j) and j.flow_key > keys.flow_key order by j.flow_key limit 1), keys.place + 1
    from keys where keys.flow_key is not null and keys.place < :most::bigint
), on_pause as (
    select keys.flow_key, (
        select count(*) from (
            select from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (keys.flow_key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (keys.flow_key, now())
            limit :most::bigint) as due) as due
    from keys
    where keys.flow_key is not null and (tocsin.flow_limits(keys.flow_key)).paused_at is not null
)
select flow_key, due, null as instance, null::bigint as permits, null::timestamptz as until from on_pause where due > 0
union all
select j.flow_key, null, j.locked_by, count(*), max(j.locked_until)
from tocsin.jobs j
where j.flow_key is not null and j.locked_until is not null and j.locked_until > now() and j.locked_by is not null
group by j.flow_key, j.locked_by
having not tocsin.is_connected(j.locked_by)
union all
select f.flow_key, null, null, null, null
from (select flow_key from tocsin.flows where strpos(flow_key, '*') = 0 order by flow_key limit :most::bigint) as f
where not exists (select from tocsin.jobs j where tocsin.is_flow_claimable(j) and j.flow_key = f.flow_key)
  and not exists (select from tocsin.jobs j where j.flow_key = f.flow_key and j.locked_until is not null)
order by flow_key;

-- name: alert_rules
-- Rules of which nobody hears, and why.
select r.name, case
        when r.job_id is not null and j.id is null then 'its job is gone'
        when r.tag is not null and not exists (
            select from tocsin.jobs k where k.tags @> array[r.tag] and k.tags <> '{}') then 'no job has its tag'
        when r.events <@ array['not_succeeded', 'recovered'] and 'not_succeeded' = any (r.events) and j.id is not null
            and j.cron is null and j.every_seconds is null then 'its job does not recur'
        when r.events <@ array['slow', 'recovered'] and 'slow' = any (r.events) and j.timeout_seconds <= r.seconds
            then 'its job ends after timeout_seconds, before it is slow'
        when r.channels = '{}' then 'it has no channel' end as problem
from tocsin.alert_rules r left join tocsin.jobs j on j.id = r.job_id
where r.channels = '{}' or r.job_id is not null or r.tag is not null
order by r.name;

-- name: alert_channels
-- Channels that delivered nothing since they last failed to, lately.
select c.name, failed.many as failed, failed.error
from tocsin.alert_channels c cross join lateral (
    select count(*) as many, max(f.failed_at) as at, (array_agg(f.error order by f.failed_at desc))[1] as error
    from (
        select a.failed_at, a.error from tocsin.alerts a
        where a.channel = c.name and a.failed_at > now() - interval '7 days' order by a.failed_at desc limit 1000
    ) as f
) as failed
where failed.many > 0 and not exists (
    select from tocsin.alerts a
    where a.channel = c.name and a.sent_at > failed.at - interval '1 hour' and a.delivered_at > failed.at)
order by c.name;

-- name: sequences
-- Sequences that are behind the numbers they gave, as after a move by logical replication. They gave no
-- number beyond the half of their range: a number that a person wrote is no reason to end a sequence.
select name, last, most
from (values
    ('executions_id_seq', pg_sequence_last_value('tocsin.executions_id_seq'), greatest(
        (select max(id) from tocsin.executions where id <= 4611686018427387903),
        (select max(execution_id) from tocsin.jobs where locked_until is not null))),
    ('audit_log_id_seq', pg_sequence_last_value('tocsin.audit_log_id_seq'), greatest(
        (select max(id) from tocsin.audit_log),
        (select max(creation) from tocsin.jobs where creation <= 4611686018427387903 and locked_until is null),
        (select max(creation) from tocsin.jobs where creation <= 4611686018427387903 and locked_until is not null)))
) as sequences (name, last, most)
where coalesce(last, 0) < most;

-- name: others
-- What users put on tocsin.jobs and tocsin.executions that takes part in the writes of instances. Postgres
-- runs a trigger with a list of columns only where a statement sets one of them; these are the ones that
-- instances set.
select format('trigger %I on tocsin.jobs', tgname) as name
from pg_trigger t join pg_proc p on p.oid = t.tgfoid
where tgrelid = 'tocsin.jobs'::regclass and not tgisinternal and tgenabled in ('O', 'A')
  and p.pronamespace <> 'tocsin'::regnamespace and tgtype & 16 <> 0
  and (tgattr = '' or exists (
      select from pg_attribute a
      where a.attrelid = tgrelid and a.attnum = any (tgattr) and a.attname in (
          'next_run', 'scheduled_for', 'attempt', 'planned_at', 'plan_error', 'locked_until',
          'locked_by', 'fence', 'claimed_at', 'claimed_for', 'claimed_attempt', 'execution_id', 'validated',
          'last_outcome', 'last_finished_at', 'consecutive_failures', 'runs')))
union all
select tocsin.rules_on_executions()
union all
select format('rule %I on tocsin.jobs', rulename)
from pg_rules where schemaname = 'tocsin' and tablename = 'jobs'
union all
select format('policy %I on tocsin.jobs', policyname)
from pg_policies where schemaname = 'tocsin' and tablename = 'jobs'
union all
select 'row security on tocsin.jobs'
from pg_class
where oid = 'tocsin.jobs'::regclass and relrowsecurity
order by 1;
