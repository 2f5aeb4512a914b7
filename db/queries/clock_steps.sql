-- What a clock of the database that was ahead, and was set back, has left behind.

-- name: future
-- Whether there are results from the future: no instance that runs now saw the clock being set back.
select coalesce((select finished_at > clock_timestamp() + interval '1 second'
                 from tocsin.executions order by id desc limit 1), false) as future;

-- name: shorten_leases
-- No lease is longer than an hour: one that is was taken by a clock that was ahead. Its holder
-- extends it within a third of its time; else the lease ends.
update tocsin.jobs
set locked_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
where locked_until > clock_timestamp() + interval '2 hours'
returning id;

-- name: held
-- How many leases are held since a look in the future: what becomes of their jobs is written once they are settled.
select count(*) as held from tocsin.jobs
where locked_until is not null and locked_until > clock_timestamp() and claimed_at > clock_timestamp() + interval '1 second';

-- name: release_flows
-- No target is obeyed for more than a day, and no start counts from later than now on: what says so is of a clock that
-- was ahead. Instances that wait for such an instant look again.
with held as (
    update tocsin.flow_states s
    set held_until = case when s.held_until < clock_timestamp() + interval '25 hours' then s.held_until end,
        waiting_since = case when s.waiting_since > clock_timestamp() then clock_timestamp() else s.waiting_since end
    where s.held_until > clock_timestamp() + interval '25 hours'
        or s.waiting_since > clock_timestamp() + interval '1 minute'
    returning s.flow_key
), started as (
    update tocsin.flow_starts s set latest = clock_timestamp()
    where s.latest > clock_timestamp() + interval '1 minute'
    returning s.flow_key
)
select tocsin.wake_flow(flow_key) from (select flow_key from held union select flow_key from started) as moved;

-- name: step
-- The next jobs in the order of their ids, with those among them whose plan was made in the future.
with walked as materialized (
    select id, run_at, cron, timezone, every_seconds::float8 as every_seconds,
        dst_gap, dst_overlap, starts_at, ends_at, jitter_seconds::float8, jitter_percent::float8,
        next_run, scheduled_for, attempt, last_finished_at,
        greatest(last_finished_at, planned_at) > now() + interval '1 second'
            and next_run > now() and (next_run = coalesce(scheduled_for, next_run)
                or (scheduled_for < next_run and tocsin.has_jitter(jobs)))
            and attempt = 0 and locked_until is null
            and plan_error is null and run_at is null as recurs,
        (last_finished_at > now() + interval '1 second' and attempt > 0
                or planned_at > now() + interval '1 second' and attempt = 0 and run_of is not null)
            and next_run > now() and locked_until is null and plan_error is null as retried
    from tocsin.jobs
    where id > :after::uuid
    order by id
    limit :many::bigint
)
select final.id as last_id, clock_timestamp() as now, walked.*
from (select id from walked order by id desc limit 1) as final
left join walked on walked.recurs or walked.retried;

-- name: move
-- Compare-and-set on the plan. What was written down as the future becomes the present, so that the
-- next walk finds nothing.
with wanted as (
    select * from json_to_recordset(:moves::json) as w (
        job_id uuid, next_run timestamptz, scheduled_for timestamptz, moved_to timestamptz, moved_for timestamptz)
), free as materialized (
    select w.* from tocsin.jobs j join wanted w on j.id = w.job_id
    where j.next_run = w.next_run and j.scheduled_for is not distinct from w.scheduled_for and j.locked_until is null
    for no key update of j skip locked
)
update tocsin.jobs j
set next_run = w.moved_to,
    scheduled_for = w.moved_for,
    planned_at = clock_timestamp(),
    last_finished_at = case when j.last_finished_at > clock_timestamp() then clock_timestamp() else j.last_finished_at end
from free w
where j.id = w.job_id
returning j.id;
