-- Jobs of a raised priority: what an instance asks about them while others have to wait.

-- name: due
-- In how many seconds the first :most of each level are due, zero or less: now. Of jobs without a flow.
select extract(epoch from due.at - least(now(), :believed::timestamptz))::float8 as due_seconds
from generate_series(1, tocsin.highest_priority()) as level
cross join lateral (
    select greatest(locked_until, next_run) as at
    from tocsin.jobs
    where tocsin.is_claimable(jobs) and flow_key is null and priority > 0 and priority = level
      and kind = any(:kinds::text[])
      and not (id = any(:aside::uuid[]))
    order by flow_key, priority, greatest(locked_until, next_run)
    limit :most::bigint
) as due
order by due.at
limit :most::bigint;
