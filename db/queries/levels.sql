-- What only the metrics tell of the whole database, in time that does not grow with the number of jobs.

-- name: lateness, reads
-- For how many seconds the job has been due that waits longest, up to 0 where none waits.
select coalesce(max(extract(epoch from now() - at)), 0)::float8 as seconds
from (
    select greatest(next_run, locked_until) as at from tocsin.jobs j
    where tocsin.is_claimable(j)
    order by 1 limit 1
) as first;

-- name: levels, reads
select pg_notification_queue_usage() as notify_queue_ratio,
    (select count(*) from (
        select from tocsin.jobs j where tocsin.failing(j) limit :most::bigint) as failing) as failing_jobs,
    (select count(*) from tocsin.connected_instances()) as instances,
    (select extract(epoch from now() - min(starts_at))::float8 from tocsin.partitions() where not is_default) as oldest_partition_seconds;
