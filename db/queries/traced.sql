-- What the spans of executions link to: see app/telemetry/traces.py.

-- name: makers, reads
-- The spans that made some of these jobs.
select id, metadata ->> 'traceparent' as traceparent from tocsin.jobs
where id = any(:ids::uuid[]) and metadata ? 'traceparent';

-- name: attempts_before, reads
-- Of executions the ones before of the same run: the latest of them, and when the first started. Runs of a job that are
-- for one instant count as one, as executions do not say which row a run is. Only so many rows of a job are read, as a
-- run has few attempts.
select asked.id, max(before.id) as before, min(before.started_at) as began_at
from unnest(:ids::bigint[], :job_ids::uuid[], :runs::timestamptz[]) as asked (id, job_id, run)
cross join lateral (
    select id, scheduled_for, started_at from tocsin.executions e
    where e.job_id = asked.job_id and e.id < asked.id
    order by e.id desc limit 100
) as before
where before.scheduled_for = asked.run and before.started_at is not null
group by asked.id;
