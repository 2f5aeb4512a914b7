-- The record of executions. Newest first is the order of their ids in every partition.

-- name: page
-- from and to prune partitions; a job has an index of its own, and so have the outcomes other
-- than succeeded.
select id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at,
    instance, status_code, response, error, missed_runs, missed_until,
    extract(epoch from started_at - scheduled_for)::float8 as lag_seconds,
    extract(epoch from finished_at - started_at)::float8 as duration_seconds
from tocsin.executions
where (:before::bigint is null or id < :before::bigint)
  and (:job_id::uuid is null or job_id = :job_id::uuid)
  and (:outcomes::text[] is null or outcome = any(:outcomes::text[]))
  and (:since::timestamptz is null or finished_at >= :since::timestamptz)
  and (:until::timestamptz is null or finished_at < :until::timestamptz)
order by id desc
limit :limit::bigint;

-- name: find
select id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at,
    instance, status_code, response, error, missed_runs, missed_until,
    extract(epoch from started_at - scheduled_for)::float8 as lag_seconds,
    extract(epoch from finished_at - started_at)::float8 as duration_seconds
from tocsin.executions
where id = :execution_id::bigint;

-- name: known_job
-- A deleted job is known by its executions.
select exists (select from tocsin.jobs where id = :job_id::uuid)
    or exists (select from tocsin.executions where job_id = :job_id::uuid) as known;
