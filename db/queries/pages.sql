-- What the pages of the dashboard show beside what the API lists. Each answers in milliseconds however many jobs and
-- executions there are: what is counted or listed stops at a bound.

-- name: under_way
-- The executions under way, the longest first. A run beside the plan is its job's.
select l.execution_id, coalesce(l.run_of, l.id) as job_id, j.name, j.kind, l.claimed_for as scheduled_for,
    l.claimed_attempt as attempt, l.claimed_at, l.locked_by as instance
from (
    select * from tocsin.jobs where locked_until is not null and locked_until > now()
    limit :window::bigint
) l left join tocsin.jobs j on j.id = coalesce(l.run_of, l.id)
order by l.claimed_at
limit :limit::bigint;

-- name: troubled
-- The newest executions that did not succeed, from executions_troubled.
select e.id, e.job_id, j.name as job_name, e.outcome, left(e.reason, 100) as reason, e.scheduled_for, e.finished_at,
    e.status_code, left(e.error, 300) as error
from (
    select * from tocsin.executions x where x.outcome <> 'succeeded' and x.finished_at >= :since::timestamptz
    order by x.id desc limit :limit::bigint
) e left join lateral (select name from tocsin.jobs where id = e.job_id limit 1) j on true
order by e.id desc;

-- name: activity
-- How many of the newest :most executions ended how in each minute since :since, and how late they started. There are
-- more if :most are counted.
select date_trunc('minute', finished_at) as at,
    count(*) filter (where outcome = 'succeeded') as succeeded,
    count(*) filter (where outcome = 'missed') as missed,
    count(*) filter (where outcome not in ('succeeded', 'missed')) as failed
from (
    select outcome, finished_at from tocsin.executions
    where finished_at >= :since::timestamptz
    order by id desc limit :most::bigint
) as newest
group by 1
order by 1;

-- name: lateness
-- Of first attempts among the newest :most executions since :since: seconds from scheduled_for to the request.
select count(*) as executions,
    percentile_disc(0.5) within group (order by lag) as p50,
    percentile_disc(0.99) within group (order by lag) as p99
from (
    select extract(epoch from started_at - scheduled_for)::float8 as lag, attempt
    from tocsin.executions
    where finished_at >= :since::timestamptz
    order by id desc limit :most::bigint
) as newest
where attempt = 1 and lag is not null;

-- name: strips
-- How the last :most executions of each job ended, the newest first; the index of executions by job serves each.
select j.id, array_agg(e.outcome order by e.id desc) as outcomes,
    array_agg(extract(epoch from e.finished_at - e.started_at)::float8 order by e.id desc) as seconds,
    array_agg(e.finished_at order by e.id desc) as finished_at
from unnest(:ids::uuid[]) as j (id)
cross join lateral (
    select id, outcome, started_at, finished_at from tocsin.executions
    where job_id = j.id
    order by id desc limit :most::bigint
) e
group by j.id;

-- name: pending_runs
-- The runs of a job beside its plan, the one first that was asked for first.
select r.id, r.request, r.scheduled_for, r.next_run, r.attempt, r.created_at, r.plan_error,
    r.locked_until is not null and r.locked_until > now() as is_executing, r.execution_id
from tocsin.jobs r
where r.run_of = :job_id::uuid
order by r.id
limit :limit::bigint;

-- name: firing
-- What alert rules have told and is not over, the latest first.
select r.name as rule, s.event, s.job_id, j.name as job_name, s.many, s.since, s.told_at, s.execution_id
from (
    select * from tocsin.alert_states where told_at is not null
    order by told_at desc, job_id limit :limit::bigint
) s join tocsin.alert_rules r on r.id = s.rule_id left join tocsin.jobs j on j.id = s.job_id
order by s.told_at desc, s.job_id;

-- name: in_minute
-- How many jobs other than :but start next in the minute from :at on, up to :most.
select count(*) as jobs
from (
    select from tocsin.jobs j
    where tocsin.is_claimable(j) and j.id <> :but::uuid
        and greatest(j.next_run, j.locked_until) >= :at::timestamptz
        and greatest(j.next_run, j.locked_until) < :at::timestamptz + interval '1 minute'
    limit :most::bigint
) as there;
