-- The plans of recurring jobs that were written in SQL.

-- name: unplanned, reads
-- Recurring jobs that a person typed; which instance plans them does not matter, see write. Rows that
-- another transaction has locked are passed over, however many: other rows wait behind them.
-- planned_from: the instant from which runs count; what fell due since is made up for like any late run. After
-- a run that was cancelled they go on from that one.
-- kept_run: the run to come of a job whose jitter alone was changed, to be spread anew. (One that was cancelled as it
-- came due is over.)
-- after: only jobs behind this one, that was edited at after_at; null: all. See app/scheduler/backlog.py.
select id as job_id, edited_at, 
    case when next_run is null and last_outcome = 'cancelled' and scheduled_for is not null then scheduled_for
        else least(greatest(edited_at, last_finished_at), now()) end as planned_from, run_at, cron, timezone, every_seconds::float8 as every_seconds,
    dst_gap, dst_overlap, starts_at, ends_at, jitter_seconds::float8, jitter_percent::float8,
    creation is not null and runs = 0 as is_new,
    case when on_closed = 'skip' then calendars end as calendars,
    case when next_run is null and creation is null and scheduled_for > now()
        and not (coalesce(last_outcome = 'cancelled', false) and last_finished_at > scheduled_for - interval '1 second')
        then scheduled_for end as kept_run
from tocsin.jobs
where tocsin.is_unplanned(jobs)
  and (:after::uuid is null or (edited_at, id) > (:after_at::text::timestamptz, :after::uuid))
  and not (id = any(:aside::uuid[])) and (:only::uuid[] is null or id = any(:only::uuid[]))
order by edited_at, id
limit 100
for no key update skip locked;

-- name: unplanned_ids, reads
select id, edited_at::text as edited_at
from tocsin.jobs
where tocsin.is_unplanned(jobs)
  and (:after::uuid is null or (edited_at, id) > (:after_at::text::timestamptz, :after::uuid))
  and not (id = any(:aside::uuid[]))
order by edited_at, id
limit 100
for no key update skip locked;

-- name: unplanned_lately, reads
-- Those that were written since the transaction newer, null: at any time; the latest first.
select id
from tocsin.jobs
where tocsin.is_unplanned(jobs) and (:newer::text is null or age(xmin) <= age(:newer::text::xid8::xid))
  and not (id = any(:aside::uuid[]))
order by edited_at desc
limit 5;

-- name: write
-- Compare-and-set on edited_at: an edit since the row was read wins and is planned in its turn.
-- Tells of each that was neither edited nor locked whether the plan was written: if not, a trigger of users
-- suppressed it.
with wanted as (
    select * from json_to_recordset(:plans::json) as w (
        job_id uuid, edited_at timestamptz, cron text, timezone text, every_seconds numeric,
        next_run timestamptz, scheduled_for timestamptz, plan_error text)
), free as materialized (
    select w.* from tocsin.jobs j join wanted w on j.id = w.job_id
    where j.edited_at = w.edited_at and j.planned_at is null
    for no key update of j skip locked
), planned as (
    update tocsin.jobs j
    set next_run = w.next_run, scheduled_for = w.scheduled_for, attempt = 0,
        planned_at = clock_timestamp(),
        plan_error = w.plan_error, cron = w.cron, timezone = w.timezone,
        every_seconds = coalesce(j.every_seconds, w.every_seconds)  -- more exact than what was read of it
    from free w
    where j.id = w.job_id
    returning j.id
)
select free.job_id, planned.id is not null as written
from free left join planned on planned.id = free.job_id;
