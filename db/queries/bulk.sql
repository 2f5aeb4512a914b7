-- Bulk actions: see db/triggers/7_bulk.sql.

-- part: shown
select b.id, b.action, b.filter::text as filter, b.options::text as options, b.expected, b.asked_at, b.asked_by,
    b.started_at, b.ended_at, b.cancelled_at, b.error, b.reached, b.matched, b.changed, b.unchanged, b.failed,
    b.problems::text as problems, b.locked_by as instance, tocsin.state(b) as state

-- name: ask
-- The case makes the row, whose defaults are evaluated and whose triggers fire, wait for the setting.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
insert into tocsin.bulk_actions (id, action, filter, options, expected, limits)
select :id::uuid, case when acting.actor is not null then :action::text end, :filter::jsonb, :options::jsonb, :expected::bigint,
    :limits::jsonb
from acting;

-- name: limits
select limits::text as limits from tocsin.bulk_actions where id = :id::uuid;

-- name: find
{shown} from tocsin.bulk_actions b where b.id = :id::uuid;

-- name: page
{shown} from tocsin.bulk_actions b
where (:before::uuid is null or b.id < :before::uuid)
order by b.id desc
limit :limit::bigint;

-- name: cancel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select cancelled.id
from acting, tocsin.cancel_bulk(case when acting.actor is not null then :id::uuid end) as cancelled;

-- name: take
-- Takes actions that nobody works on, under leases, and tells whether there are others, and such ones among these. A lease
-- that is longer than any is from before the clock was set back.
-- Of those that start runs (starting) up to :starting_limit, of all others up to :limit.
with free as materialized (
    select one.id, sort.is_starting
    from (values (false, :limit::bigint), (true, :starting_limit::bigint)) as sort (is_starting, many)
    cross join lateral (
        select id from tocsin.bulk_actions
        where ended_at is null
          and (locked_until is null or locked_until <= clock_timestamp()
              or locked_until > clock_timestamp() + 2 * :lease_seconds::float8 * interval '1 second')
          and not (id = any(:mine::uuid[]))
          and (action = any(:starting::text[])) = sort.is_starting
        order by id
        limit sort.many
        for update skip locked
    ) as one
), taken as (
    update tocsin.bulk_actions b
    set locked_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second', locked_by = :instance::text,
        started_at = coalesce(b.started_at, clock_timestamp())
    from free where b.id = free.id
    returning b.id, free.is_starting
)
select taken.id, taken.is_starting, others.many > 0 as has_others, others.free > 0 as leaves_some
from (
    select count(*) as many,
        count(*) filter (where b.locked_until is null or b.locked_until <= clock_timestamp()
            or b.locked_until > clock_timestamp() + 2 * :lease_seconds::float8 * interval '1 second') as free
    from tocsin.bulk_actions b
    where b.ended_at is null and not (b.id = any(:mine::uuid[])) and b.id not in (select id from free)
) as others left join taken on true;

-- name: extend
-- Extends the leases of actions, but of those under a step, which does so itself, and returns those that are the instance's.
with free as materialized (
    select id from tocsin.bulk_actions
    where id = any(:ids::uuid[]) and ended_at is null and locked_by = :instance::text
    for no key update skip locked
), extended as (
    update tocsin.bulk_actions b
    set locked_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
    from free where b.id = free.id
)
select id from tocsin.bulk_actions where id = any(:ids::uuid[]) and ended_at is null and locked_by = :instance::text;

-- name: begin_step
-- Extends the lease, and locks the action for a transaction that waits for no other lock for longer than this, and that
-- Postgres undoes once its instance has been frozen for longer than that. No row: the action has ended, or another
-- instance works on it, or has taken this step.
with settings as materialized (
    select set_config('lock_timeout', '50ms', true), set_config('statement_timeout', '10s', true),
        set_config('idle_in_transaction_session_timeout', '10s', true)
), begun as (
    update tocsin.bulk_actions b
    set locked_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
    from settings
    where b.id = :id::uuid and b.ended_at is null and b.locked_by = :instance::text
      and b.reached is not distinct from :reached::text
    returning b.*
)
select set_config('tocsin.actor', b.asked_by, true), set_config('tocsin.bulk', b.id::text, true) from begun b;

-- name: end_step
update tocsin.bulk_actions
set reached = :reached::text,
    matched = matched + :matched::bigint,
    changed = changed + :changed::bigint,
    unchanged = unchanged + :unchanged::bigint,
    failed = failed + :failed::bigint,
    problems = case when jsonb_array_length(problems) >= 50 then problems else problems || :problems::jsonb end,
    ended_at = case when :is_last::boolean then clock_timestamp() end,
    locked_until = case when not :is_last::boolean then locked_until end,
    locked_by = case when not :is_last::boolean then locked_by end
where id = :id::uuid;

-- name: fail
update tocsin.bulk_actions
set error = left(:error::text, 10000), ended_at = clock_timestamp(), locked_until = null, locked_by = null
where id = :id::uuid and ended_at is null and locked_by = :instance::text;

-- name: forget_target
-- Of an edit that has ended, what it wrote into targets, which may be secret, is not kept.
update tocsin.bulk_actions
set options = jsonb_set(options, '{patch,target}', '"***"')
where id = :id::uuid and ended_at is not null and options #> '{patch,target}' is not null;

-- name: release
update tocsin.bulk_actions set locked_until = null, locked_by = null
where id = any(:ids::uuid[]) and ended_at is null and locked_by = :instance::text;

-- name: wake
select pg_notify('tocsin_bulk', '');

-- name: run_now
-- For each job, whether a run now was asked for; null: its row is locked, or it is gone.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), held as materialized (
    select j.id from tocsin.jobs j, acting
    where j.id = any(:ids::uuid[]) and j.run_of is null
    for no key update of j skip locked
)
select held.id, exists (select from tocsin.run_now(held.id, null, :overlap::text)) as is_run from held;

-- name: cancel_executing
-- The jobs of which something was under way: all of it, as runs of a job may go side by side, is cancelled.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), under_way as materialized (
    select coalesce(j.run_of, j.id) as job_id, j.execution_id from tocsin.jobs j, acting
    where (j.id = any(:ids::uuid[]) or j.run_of = any(:ids::uuid[]))
      and j.execution_id is not null and j.locked_until is not null
    order by 1, j.run_of is not null, j.id
)
select distinct under_way.job_id as id
from under_way cross join lateral tocsin.cancel(under_way.execution_id, :retry::boolean) as cancelled;

-- name: skip
-- For each job that is not locked by others, and not gone, whether it was written: without runs and instant, nothing of it
-- is to be skipped any more.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), held as materialized (
    select j.id from tocsin.jobs j, acting
    where j.id = any(:ids::uuid[]) and j.run_of is null
    for no key update of j skip locked
)
select held.id, case when num_nonnulls(:runs::integer, :until::timestamptz) = 0
    then exists (select from tocsin.unskip(held.id))
    else exists (select from tocsin.skip(held.id, :runs::integer, :until::timestamptz)) end as is_written
from held;

-- name: pause
-- As skip, of a pause.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), held as materialized (
    select j.id from tocsin.jobs j, acting
    where j.id = any(:ids::uuid[]) and j.run_of is null
    for no key update of j skip locked
)
select held.id, exists (select from tocsin.pause(held.id, :reason::text, :until::timestamptz)) as is_written
from held;

-- name: resume
-- As skip, of a resumption.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), held as materialized (
    select j.id from tocsin.jobs j, acting
    where j.id = any(:ids::uuid[]) and j.run_of is null
    for no key update of j skip locked
)
select held.id, exists (select from tocsin.resume(held.id, :missed::text)) as is_written
from held;

-- name: room
-- How jobs stand that are to get runs: those that are over, such as a deleted one, have no row. With allow_all no run that
-- was asked for is counted in pending_runs.
select j.id, j.name, j.kind, j.paused_at is not null as paused, tocsin.state(j) = 'invalid' as invalid,
    case when j.overlap = 'allow_all' then (
        select count(*)::integer from tocsin.jobs r where r.run_of = j.id and r.request <> 'planned') else j.pending_runs
    end as pending_runs, j.scheduled_for
from tocsin.jobs j where j.id = any(:ids::uuid[]) and j.run_of is null;

-- name: add_runs
-- Asks for runs beside the plan, in this order, but for those that are to be carried out anyway. No rows of jobs whose
-- row is locked, or that are gone; added: how many there are of all.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true) as actor
), wanted as materialized (
    select * from unnest(:job_ids::uuid[], :runs::timestamptz[]) with ordinality as w (job_id, run, place)
), held as materialized (
    select j.id, j.kind from tocsin.jobs j, acting
    where j.id = any(:job_ids::uuid[]) and j.run_of is null
    for no key update of j skip locked
), judged as materialized (
    select w.*, held.kind, tocsin.is_pending_run(w.job_id, w.run) as is_pending
    from wanted w join held on held.id = w.job_id
), added as (
    insert into tocsin.jobs (run_of, request, kind, target, run_at, overlap)
    select job_id, :request::text, kind, '{}', run, :overlap::text from judged where not is_pending order by place
    returning id
)
select judged.is_pending, (select count(*) from added) as added from judged;
