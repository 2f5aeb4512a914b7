-- The record of executions. Newest first is the order of their ids in every partition.

-- name: page
-- from and to prune partitions; a job has an index of its own, and so have the outcomes other
-- than succeeded. Texts are cut off at what no instance writes, as a page is bounded by whole rows.
select id, job_id, fence, left(kind, 1000) as kind, scheduled_for, attempt, outcome,
    left(reason, 1000) as reason, started_at, finished_at, left(instance, 1000) as instance, status_code,
    left(response, 100000) as response, left(error, 100000) as error, missed_runs, missed_until,
    extract(epoch from started_at - scheduled_for)::float8 as lag_seconds,
    extract(epoch from finished_at - started_at)::float8 as duration_seconds
from tocsin.executions
where id >= 0 and (:before::bigint is null or id < :before::bigint)
  and (:job_id::uuid is null or job_id = :job_id::uuid)
  and (:outcomes::text[] is null or outcome = any(:outcomes::text[]))
  and (:since::timestamptz is null or finished_at >= :since::timestamptz)
  and (:until::timestamptz is null or finished_at < :until::timestamptz)
order by id desc
limit :limit::bigint;

-- name: find
select id, job_id, fence, left(kind, 1000) as kind, scheduled_for, attempt, outcome,
    left(reason, 1000) as reason, started_at, finished_at, left(instance, 1000) as instance, status_code,
    left(response, 100000) as response, left(error, 100000) as error, missed_runs, missed_until,
    extract(epoch from started_at - scheduled_for)::float8 as lag_seconds,
    extract(epoch from finished_at - started_at)::float8 as duration_seconds
from tocsin.executions
where id = :execution_id::bigint;

-- name: known_job
-- A deleted job is known by its executions.
select exists (select from tocsin.jobs where id = :job_id::uuid and run_of is null)
    or exists (select from tocsin.executions where job_id = :job_id::uuid) as known;
