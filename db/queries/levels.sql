-- What only the metrics tell of the whole database, in time that does not grow with the number of jobs.

-- name: lateness, reads
-- For how many seconds the job has been due, or not been planned, that waits longest, up to 0 where none waits. While all
-- jobs are paused none that is due waits for an instance. Planning does not wait for what instances have put aside, such as a
-- row for which a trigger raises: it is told of otherwise.
select coalesce(max(extract(epoch from now() - at)), 0)::float8 as seconds
from (
    (
        select greatest(next_run, locked_until) as at from tocsin.jobs j
        where tocsin.is_claimable(j) and not exists (select from tocsin.pauses where scope = 0)
        order by 1 limit 1
    ) union all (
        select j.edited_at from tocsin.jobs j
        where tocsin.is_unplanned(j) and not exists (select from tocsin.resting_jobs r where r.job_id = j.id)
        order by 1 limit 1
    )
) as first;

-- name: levels, reads
-- repeatedly_failing_jobs: of the failing ones that are counted those of which three runs in a row or more failed.
select pg_notification_queue_usage() as notify_queue_ratio, failing.jobs as failing_jobs, failing.repeatedly as repeatedly_failing_jobs,
    (select count(*) from tocsin.connected_instances()) as instances,
    coalesce((select greatest(extract(epoch from polling_until - now()), 0)::float8 from tocsin.polling), 0) as polling_seconds,
    (select count(*) from (
        select from tocsin.jobs where run_of is null and metadata @> '{"metrics": true}' limit :most::bigint) as asking) as asking_jobs,
    (select extract(epoch from now() - min(starts_at))::float8 from tocsin.partitions() where not is_default) as oldest_partition_seconds
from (
    select count(*) as jobs, count(*) filter (where f.consecutive_failures >= 3) as repeatedly
    from (select j.consecutive_failures from tocsin.jobs j where tocsin.failing(j) and j.run_of is null limit :most::bigint) as f
) as failing;

-- name: asking_jobs, reads
-- The jobs that ask for metrics of their own, the oldest :most of them. Of each only the latest executions are looked
-- through for a success: if there is none, the last success is before the first of these.
select j.id, j.name, j.kind, j.consecutive_failures, j.next_run,
    case when j.last_outcome = 'succeeded' then j.last_finished_at
        else coalesce(latest.succeeded_at, latest.first_at, j.created_at) end as succeeded_at
from (
    select * from tocsin.jobs
    where run_of is null and metadata @> '{"metrics": true}'
    order by id limit :most::bigint
) as j
cross join lateral (
    select max(finished_at) filter (where outcome = 'succeeded') as succeeded_at,
        case when count(*) = 200 then min(finished_at) end as first_at
    from (
        select outcome, finished_at from tocsin.executions e
        where e.job_id = j.id and j.last_outcome is distinct from 'succeeded'
        order by e.id desc limit 200
    ) as executions
) as latest;

-- name: flows, reads
-- The flows that have a key of their own, the first :flows of them; counts stop at :most.
select f.flow_key,
    (select count(*) from (
        select from tocsin.jobs j
        where j.flow_key = f.flow_key and j.locked_until is not null and j.locked_until > now()
        limit :most::bigint) as active) as active,
    (select count(*) from (
        select from tocsin.jobs j
        where j.flow_key = f.flow_key and tocsin.is_flow_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
        limit :most::bigint) as waiting) as waiting,
    greatest(extract(epoch from s.held_until - now()), 0)::float8 as held_seconds
from (
    select flow_key from tocsin.flows where strpos(flow_key, '*') = 0 order by flow_key limit :flows::bigint
) as f
left join tocsin.flow_states s using (flow_key)
order by 1;
