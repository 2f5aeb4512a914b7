-- db/triggers/7_state.sql: how a job stands, and the runs that are asked for.

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
        when job.kind not in ('http', 'amqp') and (job.next_run is not null or job.planned_at is null)
            and not tocsin.has_kind(job.kind) then 'invalid'
        when job.paused_at is not null then 'paused'
        when job.next_run is null and job.planned_at is not null then
            case when job.last_outcome in ('failed', 'timed_out', 'cancelled', 'lost')
                then 'failed' else 'finished' end
        when job.attempt > 0 then 'retrying'
        else 'scheduled'
    end;

-- Asks for a run beside the plan: a new one, due now, or `occurrence` again with its identity. Each call
-- is a run of its own, and they are carried out one after the other, before the planned run goes on. A
-- one-off that waits for its instant runs now instead, and a run that waits for its retry is retried
-- now. No row: there is no such job, or a retry is pending, which a replay must not displace.
create or replace function tocsin.run_now(job_id uuid, occurrence timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    moment timestamptz;
begin
    select * into job from tocsin.jobs j where j.id = run_now.job_id for no key update;
    if job.id is null or (occurrence is not null and job.attempt > 0 and job.locked_until is null) then
        return;
    end if;
    moment := clock_timestamp();
    if job.attempt > 0 and job.locked_until is null and job.next_run > moment then
        return query update tocsin.jobs j set next_run = moment where j.id = job.id returning j.*;
        return;
    end if;
    -- No two runs of a job have the same identity, whatever the resolution of the clock.
    while occurrence is null and (moment = job.scheduled_for or exists (
        select from tocsin.pending_runs w where w.job_id = job.id and w.scheduled_for = moment)) loop
        moment := moment + interval '1 microsecond';
    end loop;
    insert into tocsin.pending_runs (job_id, scheduled_for, request)
    values (job.id, coalesce(occurrence, moment), case when occurrence is null then 'run_now' else 'replay' end);
    return query update tocsin.jobs j
        set pending_runs = j.pending_runs + 1,
            next_run = case
                when occurrence is null and j.run_at > moment and j.next_run > moment
                    and j.locked_until is null and not j.extra then null
                else j.next_run end
        where j.id = job.id returning j.*;
end $$;

-- Lets the first run that was asked for take the place of the planned one, which waits in resume_at.
-- Comes after the plan is worked out, and with whatever leaves next_run to the plan: a settlement, an
-- edit, a request itself. A claim counts its attempt, so without any the run has not begun, even
-- while a lease holds: it was planned or moved during that one's execution.
create or replace function tocsin.take_pending_run()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    taken tocsin.pending_runs;
begin
    delete from tocsin.pending_runs
    where id = (select id from tocsin.pending_runs where job_id = new.id order by id limit 1)
    returning * into taken;
    if taken.id is null then
        new.pending_runs := 0;  -- somebody deleted them
        return new;
    end if;
    new.resume_at := new.next_run;
    new.next_run := clock_timestamp();
    new.scheduled_for := taken.scheduled_for;
    new.extra := true;
    new.pending_runs := new.pending_runs - 1;
    return new;
end $$;

create or replace trigger jobs_150_take_pending_run before update on tocsin.jobs
    for each row
    when (new.pending_runs > 0 and new.attempt = 0 and not new.extra)
    execute function tocsin.take_pending_run();

-- What was asked for and not started is on record when its job is deleted.
create or replace function tocsin.drop_pending_runs()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    with dropped as (
        delete from tocsin.pending_runs where job_id = old.id returning scheduled_for
    )
    insert into tocsin.executions (
        job_id, fence, kind, scheduled_for, outcome, reason, missed_runs, missed_until, error)
    select old.id, old.fence, old.kind, scheduled_for, 'missed', 'deleted', 1, scheduled_for,
        'the job was deleted before this run was started'
    from (
        select old.scheduled_for where old.extra and old.attempt = 0 and old.next_run is not null
        union all select scheduled_for from dropped
    ) as waiting;
    return null;
end $$;

create or replace trigger jobs_850_drop_pending_runs after delete on tocsin.jobs
    for each row when (old.pending_runs > 0 or (old.extra and old.attempt = 0))
    execute function tocsin.drop_pending_runs();
