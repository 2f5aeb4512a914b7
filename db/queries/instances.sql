-- Which instances are alive, and counts of jobs; each in time that does not grow with the number of jobs.

-- name: clock
select clock_timestamp() as now;

-- name: kinds_alive
select tocsin.kinds_alive() as kinds;

-- name: instances
-- An instance is seen by the connection it listens on, and by the leases it holds; one that holds some
-- without a connection has died or is cut off, and they end by themselves.
with connected as (
    select name, connected_since from tocsin.connected_instances()
), holding as (
    select locked_by as name, left(locked_by, 63 - length('tocsin scheduler ')) as shown,
        count(*) as executing
    from tocsin.jobs
    where locked_until is not null
    group by 1
)
select coalesce(holding.name, connected.name) as name,
    connected.name is not null as connected, connected.connected_since,
    coalesce(holding.executing, 0) as executing
from connected full join holding on holding.shown = connected.name
order by 1;

-- name: stats
-- Each count stops at :most; the total is exact up to there and an estimate of the planner's above. Outcomes are those of
-- the newest :newest executions.
with due as (
    select count(*) as jobs, extract(epoch from now() - min(at))::float8 as oldest_seconds
    from (
        (
            select greatest(next_run, locked_until) as at from tocsin.jobs
            where tocsin.is_claimable(jobs) and greatest(next_run, locked_until) <= now()
            order by 1 limit :most::bigint
        ) union all (
            select greatest(next_run, locked_until) from tocsin.jobs
            where tocsin.is_flow_claimable(jobs) and greatest(next_run, locked_until) <= now()
            order by 1 limit :most::bigint
        )
        limit :most::bigint
    ) as claimable
), executing as (
    select count(*) as jobs
    from (
        select from tocsin.jobs where locked_until is not null and locked_until > now()
        limit :most::bigint
    ) as leased
), aside as (
    -- Of jobs with runs those that retry are counted by their first :most runs: to ask for the state of each takes long.
    select count(*) filter (where jobs_of_it.state = 'retrying')
            + (select count(*) from (
                select distinct r.run_of from (
                    select * from tocsin.jobs where run_of is not null order by run_of, id limit :most::bigint) r
                where r.attempt > 0 and coalesce(r.locked_until <= now(), true)
                  and r.plan_error is null and r.paused_at is null and tocsin.has_kind(r.kind)) as runs) as retrying,
        count(*) filter (where jobs_of_it.state = 'paused') as paused,
        count(*) filter (where jobs_of_it.state = 'failed') as failed,
        count(*) filter (where jobs_of_it.state = 'invalid')
            + (select count(*) from (
                select from tocsin.unsupported_kinds() as kinds (kind)
                join tocsin.jobs j on j.kind = kinds.kind and j.kind not in ('http', 'amqp')
                where (not tocsin.is_aside(j) or tocsin.aside_state(j) = 'runs')
                  and j.run_of is null and tocsin.state(j) = 'invalid'
                limit :most::bigint) as nobodys) as invalid
    from unnest('{invalid,paused,failed,retrying}'::text[]) as listed (state)
    cross join lateral (
        select tocsin.state(j) as state from tocsin.jobs j
        where tocsin.is_aside(j) and tocsin.aside_state(j) = listed.state
        order by j.id desc limit :most::bigint
    ) as jobs_of_it
), counted as (
    select count(*) as jobs from (select from tocsin.jobs where run_of is null limit :most::bigint) as jobs
), latest as (
    select coalesce(jsonb_object_agg(outcome, executions), '{}') as outcomes,
        min(since) as since
    from (
        select outcome, count(*) as executions, min(finished_at) as since
        from (
            select outcome, finished_at from tocsin.executions
            order by id desc limit :newest::bigint
        ) as newest
        group by outcome
    ) as by_outcome
)
select now() as at,
    case when counted.jobs < :most::bigint then counted.jobs
         else (select greatest(reltuples::bigint, counted.jobs) from pg_class
               where oid = 'tocsin.jobs'::regclass) end as jobs,
    due.jobs as due, due.oldest_seconds as oldest_due_seconds,
    least((select greatest(next_run, locked_until) from tocsin.jobs j
           where tocsin.is_claimable(j) and greatest(next_run, locked_until) > now()
           order by greatest(next_run, locked_until) limit 1),
        (select greatest(next_run, locked_until) from tocsin.jobs j
         where tocsin.is_flow_claimable(j) and greatest(next_run, locked_until) > now()
         order by greatest(next_run, locked_until) limit 1)) as next_due_at,
    executing.jobs as executing, aside.retrying, aside.paused, aside.failed, aside.invalid,
    latest.outcomes::text as outcomes, latest.since as outcomes_since
from due, executing, aside, counted, latest;
