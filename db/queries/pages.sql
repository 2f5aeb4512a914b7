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

-- name: attention
-- What needs somebody, up to :few of each sort, each by an index of its own: late, cannot run, fails, ended in failure.
-- A run beside the plan is its job's.
with late as (
    select id, run_of, at
    from (
        (
            select id, run_of, greatest(next_run, locked_until) as at from tocsin.jobs j
            where tocsin.is_claimable(j)
                and greatest(next_run, locked_until) < now() - :late_seconds::float8 * interval '1 second'
            order by greatest(next_run, locked_until) limit :few::bigint
        ) union all (
            select id, run_of, greatest(next_run, locked_until) from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
                and greatest(next_run, locked_until) < now() - :late_seconds::float8 * interval '1 second'
            order by greatest(next_run, locked_until) limit :few::bigint
        )
    ) as waiting
    order by at limit :few::bigint
), found as (
    select 1 as rank, coalesce(run_of, id) as id, min(at) as since from late group by 2
    union all (
        select 2, id, null from tocsin.jobs j
        where tocsin.is_aside(j) and tocsin.aside_state(j) = 'invalid' order by id desc limit :few::bigint
    ) union all (
        select 2, j.id, null from tocsin.unsupported_kinds() as kinds (kind) join tocsin.jobs j on j.kind = kinds.kind
        where j.kind not in ('http', 'amqp') and j.run_of is null
            and (not tocsin.is_aside(j) or tocsin.aside_state(j) = 'runs') and tocsin.state(j) = 'invalid'
        limit :few::bigint
    ) union all (
        select 3, id, null from tocsin.jobs j where j.run_of is null and tocsin.failing(j) order by id desc limit :few::bigint
    ) union all (
        select 4, id, null from tocsin.jobs j
        where tocsin.is_aside(j) and tocsin.aside_state(j) = 'failed' order by id desc limit :few::bigint
    )
)
select case found.rank when 1 then 'late' when 2 then 'invalid' when 3 then 'failing' else 'failed' end as sort, j.id,
    left(j.name, 300) as name, left(j.plan_error, 200) as plan_error, j.last_outcome, j.consecutive_failures, j.next_run,
    j.last_finished_at, found.since
from found join tocsin.jobs j on j.id = found.id
order by found.rank, found.since, j.id desc;

-- name: troubled
-- The jobs whose executions did not succeed, each by its newest one and with how many there were: of the newest :window
-- executions of the last days, by executions_troubled. What fails all the time hides nothing else. A job without a name
-- or one that was deleted is one as well.
select e.id, e.job_id, j.name as job_name, e.many, e.outcome, left(e.reason, 100) as reason, e.scheduled_for, e.finished_at,
    e.status_code, left(e.error, 300) as error
from (
    select * from (
        select *, row_number() over (partition by job_id order by id desc) as place, count(*) over (partition by job_id) as many
        from (
            select * from tocsin.executions x
            where x.outcome <> 'succeeded' and x.finished_at >= date_trunc('day', :since::timestamptz, 'UTC')
            order by x.id desc limit :window::bigint
        ) as newest
        where finished_at >= :since::timestamptz
    ) as placed
    where place = 1
    order by id desc limit :limit::bigint
) e left join lateral (select name from tocsin.jobs where id = e.job_id limit 1) j on true
order by e.id desc;

-- name: hour
-- How many of the newest :most executions ended how in each minute since :since, and how late runs of the plan started:
-- in seconds from scheduled_for to the request of the first attempt. There are more if :most are counted. By whole days,
-- which are partitions, so that no more than :most rows are read however few of them are of the last hour.
-- An execution does not say what asked for it. What began more than a second late was not put off on purpose, and its
-- instant lay ahead when it was planned, if it is not older than its job or one that its job has reached before (as that
-- of a replay or a backfill is), and the job was not paused meanwhile, and has nothing that starts its runs later.
with newest as materialized (
    select id, job_id, finished_at, outcome, attempt, started_at, scheduled_for,
        max(coalesce(missed_until, scheduled_for)) over (
            partition by job_id order by id rows between unbounded preceding and 1 preceding) as reached,
        case when attempt = 1 then extract(epoch from started_at - scheduled_for)::float8 end as lag
    from (
        select * from tocsin.executions
        where finished_at >= date_trunc('day', :since::timestamptz, 'UTC')
        order by id desc limit :most::bigint
    ) as read
), counted as materialized (
    select id, job_id, date_trunc('minute', finished_at) as at, outcome, scheduled_for, reached, lag
    from newest where finished_at >= :since::timestamptz
), late as materialized (
    select job_id, min(id) as first_id from counted where lag > 1 group by job_id
), judged as materialized (
    select l.job_id, before.reached,
        greatest(j.created_at, j.resumed_at, case when j.run_at is not null then j.edited_at end) as since
    from late l
    join tocsin.jobs j on j.id = l.job_id
    cross join lateral (
        select max(coalesce(missed_until, scheduled_for)) as reached
        from (
            select missed_until, scheduled_for from tocsin.executions x
            where x.job_id = l.job_id and x.id < l.first_id and x.finished_at >= date_trunc('day', :since::timestamptz, 'UTC') - interval '1 day'
            order by x.id desc limit 20
        ) as earlier
    ) as before
    where not tocsin.has_jitter(j) and j.min_gap_seconds is null and (j.calendars is null or j.on_closed <> 'next_open')
)
select coalesce((
        select json_agg(minute order by minute.at) from (
            select at, count(*) filter (where outcome = 'succeeded') as succeeded,
                count(*) filter (where outcome = 'missed') as missed,
                count(*) filter (where outcome not in ('succeeded', 'missed')) as failed
            from counted group by at
        ) as minute
    ), '[]')::text as minutes, lateness.*
from (
    select percentile_disc(0.5) within group (order by c.lag) as p50, percentile_disc(0.99) within group (order by c.lag) as p99
    from counted c left join judged j on c.lag > 1 and j.job_id = c.job_id
    where c.lag <= 1 or (c.scheduled_for >= j.since - interval '1 second' and c.scheduled_for > coalesce(greatest(c.reached, j.reached), '-infinity'))
) as lateness;

-- name: rows
-- Jobs as rows of a list, each with how its last :most executions ended, the newest first; the index of executions by
-- job serves each.
select (
        select to_json(listed) from (
            select j.id, j.name, j.tags, tocsin.state(j) as state, tocsin.failing(j) as failing, j.next_run,
                j.run_at, j.cron, j.timezone, j.every_seconds, j.dst_gap, j.dst_overlap, j.starts_at, j.ends_at,
                j.jitter_seconds, j.jitter_percent
        ) as listed
    )::text as job, ended.outcomes, ended.seconds, ended.finished_at
from unnest(:ids::uuid[]) as wanted (id)
join tocsin.jobs j on j.id = wanted.id
cross join lateral (
    select coalesce(array_agg(e.outcome order by e.id desc), '{}') as outcomes,
        coalesce(array_agg(extract(epoch from e.finished_at - e.started_at)::float8 order by e.id desc), '{}') as seconds,
        coalesce(array_agg(e.finished_at order by e.id desc), '{}') as finished_at
    from (
        select id, outcome, started_at, finished_at from tocsin.executions
        where job_id = j.id
        order by id desc limit :most::bigint
    ) e
) as ended;

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
select r.name as rule, r.channels = '{}' as is_unheard, s.event, s.job_id, j.name as job_name, s.many, s.since, s.told_at, s.execution_id
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
