-- Runs beside the plan, as a look claims them.

-- name: check
-- The names of the jobs of runs that a look has claimed, what asked for them, and whether each must wait for another execution of its
-- job: for how many seconds, null: not at all. None does unless a person changed rows by hand: a plan that was
-- moved while it executed is still under its lease, or several runs are active. One that goes beside others never waits. Of several runs that one look
-- claimed the first goes on.
select run.id, job.name, run.request,
    case
        when 'allow_all' in (run.overlap, job.overlap) then null
        when job.locked_until is not null
            and not tocsin.end_lease(job.id, least(now(), :believed::timestamptz))
            then greatest(extract(epoch from job.locked_until - now())::float8, 0)
        when exists (
            select from tocsin.jobs other
            where other.run_of = run.run_of and other.id <> run.id and other.execution_id is not null
              and (other.id < run.id or other.claimed_at <> run.claimed_at or other.locked_by <> run.locked_by))
            then 0::float8
    end as wait_seconds,
    clock_timestamp() as now
from tocsin.jobs run left join tocsin.jobs job on job.id = run.run_of
where run.id = any(:ids::uuid[]);
