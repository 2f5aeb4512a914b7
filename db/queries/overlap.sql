-- The plan of a job while a run of it is under way.

-- name: plan_behind, reads
-- Behind the run of a claim, unless the job is on pause. A plan that is not moved still is that of the run.
select next_run, scheduled_for, planned_at is not null as planned, overlap, tocsin.is_held_up(jobs) as held_up,
    run_at, cron, timezone, every_seconds::float8 as every_seconds, dst_gap, dst_overlap, starts_at, ends_at, max_runs,
    jitter_seconds::float8 as jitter_seconds, jitter_percent::float8 as jitter_percent,
    skip_runs, skip_until, calendars, on_closed
from tocsin.jobs
where id = :id::uuid and fence = :fence::bigint and claimed_at = :claimed_at::timestamptz
  and locked_until is not null and paused_at is null;

-- name: part_run
select tocsin.part_run(:id::uuid, :fence::bigint, :claimed_at::timestamptz, :next_run::timestamptz,
    :run_id::uuid, :following::timestamptz, :starts_at::timestamptz) as edited_at;
