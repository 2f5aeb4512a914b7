-- What keeps the database in shape; each is safe to run at any time and by any number at once.

-- name: begin
-- Housekeeping waits for no lock longer than this, as others would queue behind it; one session of
-- all instances does it at a time.
select set_config('lock_timeout', '50ms', false), set_config('statement_timeout', '5s', false),
    pg_try_advisory_lock(hashtext('tocsin.upkeep')) as leads;

-- name: follow_clock
-- Moves the clock that history is pruned by. It follows the database's by two days at a time, and 48
-- times as fast as that goes on, so a clock that is 60 days ahead costs no history for the 30 hours in
-- which a person may notice. At first it reaches to the end of the newest day that was made ready.
-- What is later than believed, where that is known, is not followed at all.
insert into tocsin.trusted_clock as c (trusted, shown)
select least(clock_timestamp(), :believed::timestamptz, max(ends_at)), least(clock_timestamp(), :believed::timestamptz)
from tocsin.partitions()
on conflict (one) do update
set shown = excluded.shown,
    trusted = least(excluded.shown, c.trusted
        + least(interval '2 days', 48 * greatest(excluded.shown - c.shown, interval '0')));

-- name: keep_from
select trusted - :retention_days::numeric * interval '1 day' as keep_from from tocsin.trusted_clock;

-- name: add_partition
select tocsin.add_partition(
    (clock_timestamp() at time zone 'UTC')::date + :days_ahead::integer, :most_bytes::bigint) as added;

-- name: expired_partitions
select partition from tocsin.partitions()
where ends_at <= :keep_from::timestamptz and partition ~ '^executions_[0-9]{8}$'
order by ends_at;

-- name: drop_partition
select tocsin.drop_partition(:partition::text, :keep_from::timestamptz) as dropped;

-- name: pages
select pg_relation_size(:relation::text::regclass) / current_setting('block_size')::bigint as pages;

-- name: prune_default
select tocsin.prune_default(:first_page::bigint, :pages::bigint, :keep_from::timestamptz) as deleted,
    0::bigint as refused, null::text as refusal;

-- name: jobs_expired
-- Whether the table is worth a walk: a day after the last one, or when some of its pages hold what
-- has expired since; what refused to go is not a reason to walk again.
select not exists (
        select from tocsin.upkeep
        where step = 'jobs' and done_at between clock_timestamp() - interval '1 day' and clock_timestamp())
    or (select refused = 0 from tocsin.upkeep where step = 'jobs')
    and exists (
        select from tocsin.jobs tablesample system (least(100, 100e3 / greatest(:pages::float8, 1)))
        where run_at is not null and next_run is null and planned_at is not null
          and plan_error is null and pending_runs = 0 and run_of is null
          and last_finished_at < :keep_from::timestamptz) as expired;

-- name: prune_jobs
select jobs as deleted, refused, refusal
from tocsin.prune_jobs(:first_page::bigint, :pages::bigint, :keep_from::timestamptz);

-- name: prune_audit_log
select entries as deleted, last_id
from tocsin.prune_audit_log(:after_id::bigint, :most::bigint, :keep_from::timestamptz);

-- name: prune_alerts
-- Deletes old alerts among the next ones after one, and returns where to go on: no row at the end. What others have locked
-- waits for the next walk, and what has not ended yet for its end: a recovery refers to it.
with following as materialized (
    select a.id, a.at from tocsin.alerts a
    where (a.at, a.id) > (:after_at::timestamptz, :after_id::uuid) and a.at < :keep_from::timestamptz
    order by a.at, a.id limit :most::bigint
), unused as materialized (
    select a.id from tocsin.alerts a
    where a.id in (select f.id from following f) and (a.is_reminder or not exists (
        select from tocsin.alert_states s
        where s.job_id = coalesce(a.job_id, '00000000-0000-0000-0000-000000000000')
          and s.rule_id = a.rule_id and s.event = a.event and s.since = a.since))
    for update of a skip locked
), deleted as (
    delete from tocsin.alerts a using unused where a.id = unused.id
)
select f.at, f.id from following f order by f.at desc, f.id desc limit 1;

-- name: prune_idempotency_keys
-- Some at a time; returns whether there may be more.
with expired as (
    select id from tocsin.idempotency_keys
    where at <= least(clock_timestamp(), :believed::timestamptz) - interval '24 hours' limit 5000 for update skip locked
), deleted as (
    delete from tocsin.idempotency_keys as k using expired where k.id = expired.id returning 1
)
select count(*) = 5000 as more from deleted;

-- name: prune_bulk_actions
delete from tocsin.bulk_actions where ended_at < :keep_from::timestamptz;

-- name: done
insert into tocsin.upkeep as u (step, done_at, refused) values (:step::text, clock_timestamp(), :refused::bigint)
on conflict (step) do update
set done_at = excluded.done_at, refused = excluded.refused, failed_at = null, error = null;

-- name: failed
insert into tocsin.upkeep as u (step, failed_at, error) values (:step::text, clock_timestamp(), :error::text)
on conflict (step) do update set failed_at = excluded.failed_at, error = excluded.error;

-- name: resume_runs
select tocsin.resume_runs() as resumed;

-- name: schema_exists
-- From the catalogue, which needs no right to the schema.
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'tocsin' and c.relname = 'schema_migrations') as schema_exists;

-- name: schema_versions
select version, breaking from tocsin.schema_migrations order by version;
