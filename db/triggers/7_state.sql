-- db/triggers/7_state.sql: how a job stands.

-- Whether an instance that ran in the last day can run jobs of a kind; the two that come with Tocsin every
-- one can.
create or replace function tocsin.has_kind(kind text)
returns boolean language sql stable
    return has_kind.kind in ('http', 'amqp') or exists (
        select from tocsin.kinds k
        where k.kind = has_kind.kind and k.told_at > now() - interval '1 day');

-- How a job stands, in one word: select tocsin.state(j), j.* from tocsin.jobs j;
create or replace function tocsin.state(job tocsin.jobs)
returns text language sql stable
    return case
        when job.plan_error is not null then 'invalid'
        when job.locked_until > now() then 'executing'
        when (job.pending_runs > 0 or job.overlap = 'allow_all') and tocsin.state_of_runs(job.id) = 'executing' then 'executing'
        when job.kind not in ('http', 'amqp')
            and (job.next_run is not null or job.planned_at is null or job.pending_runs > 0)
            and not tocsin.has_kind(job.kind) then 'invalid'
        when job.paused_at is not null then 'paused'
        when job.pending_runs > 0 then
            case when job.attempt > 0 then 'retrying' else tocsin.state_of_runs(job.id) end
        when job.overlap = 'allow_all' and tocsin.state_of_runs(job.id) = 'retrying' then 'retrying'
        when job.next_run is null and job.planned_at is not null then
            case when job.last_outcome in ('failed', 'timed_out', 'cancelled', 'lost')
                then 'failed' else 'finished' end
        when job.attempt > 0 then 'retrying'
        else 'scheduled'
    end;

-- Whether a job goes on although its last runs failed: select * from tocsin.jobs j where tocsin.failing(j);
-- How many they are stands in consecutive_failures.
create or replace function tocsin.failing(job tocsin.jobs)
returns boolean language sql immutable
    return job.consecutive_failures > 0 and job.next_run is not null;

-- Whether jobs_aside has a job: the condition of that index.
create or replace function tocsin.is_aside(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.run_of is null and (job.plan_error is not null or job.paused_at is not null or job.pending_runs > 0
        or (job.next_run is null and job.planned_at is not null)
        or (job.attempt > 0 and job.locked_until is null));

-- Under which state jobs_aside has a job, before leases, kinds that no instance has and the stand of its runs are
-- looked at, which tocsin.state does; 'runs': the job has some. The key of that index.
create or replace function tocsin.aside_state(job tocsin.jobs)
returns text language sql immutable parallel safe
    return case
        when job.plan_error is not null then 'invalid'
        when job.paused_at is not null then 'paused'
        when job.pending_runs = 0 and job.next_run is null and job.planned_at is not null then
            case when job.last_outcome in ('failed', 'timed_out', 'cancelled', 'lost') then 'failed' else 'finished' end
        when job.attempt > 0 then 'retrying'
        else 'runs'
    end;

-- The kinds of jobs that no instance has: a step from kind to kind along jobs_other_kinds.
create or replace function tocsin.unsupported_kinds()
returns setof text language sql stable
begin atomic
    with recursive kinds as (
        select min(kind) as kind from tocsin.jobs where kind not in ('http', 'amqp')
        union all
        select (select min(kind) from tocsin.jobs where kind not in ('http', 'amqp') and kind > kinds.kind)
        from kinds where kinds.kind is not null
    )
    select kind from kinds where kind is not null and not tocsin.has_kind(kind);
end;
