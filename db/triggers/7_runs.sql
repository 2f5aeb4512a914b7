-- db/triggers/7_runs.sql: runs beside the plan of their job, each of which is a row of its own.

-- A run now or a replay inserts a row of tocsin.jobs with run_of, the id of its job. From then on it is what any
-- one-off is: claimed, leased, fenced and settled by the same statements, under its own id. Executions, their
-- idempotency keys and what a target's secrets are bound to have the id of the job.
-- The runs of a job are carried out one after the other, unless they are asked for with the overlap allow_all: see
-- tocsin.clear_way. One is active: it has a next_run and what is to be done,
-- which follows its job. The others wait without either. pending_runs of the job counts them all; while there
-- are any its plan waits, except for a run of the plan that has begun, which comes first with its retries.
-- A run that is over is deleted, and its outcome told to the job, with its settlement.

-- Gives a run what its job says is to be done.
create or replace function tocsin.defined_run(run tocsin.jobs, job tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    run.kind := job.kind;
    run.target := job.target;
    run.max_attempts := job.max_attempts;
    run.backoff_seconds := job.backoff_seconds;
    run.backoff_max_seconds := job.backoff_max_seconds;
    run.timeout_seconds := job.timeout_seconds;
    run.priority := job.priority;
    run.flow_key := job.flow_key;
    run.paused_at := job.paused_at;
    run.plan_error := job.plan_error;
    return run;
end $$;

-- Writes a run whose row is locked: when it may be claimed, and what is to be done.
create or replace function tocsin.write_run(run tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs r
    set next_run = run.next_run, planned_at = run.planned_at, locked_until = run.locked_until,
        kind = run.kind, target = run.target, max_attempts = run.max_attempts,
        backoff_seconds = run.backoff_seconds, backoff_max_seconds = run.backoff_max_seconds,
        timeout_seconds = run.timeout_seconds, priority = run.priority,
        paused_at = run.paused_at, plan_error = run.plan_error,
        flow_key = run.flow_key, validated = run.validated, edited_at = run.edited_at, fence = run.fence
    where r.id = run.id;
    perform set_config('tocsin.runs', '', true);
end $$;

-- How many runs the plan of a job has to wait for: with allow_all it waits for none.
create or replace function tocsin.count_pending(job tocsin.jobs)
returns integer language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when job.overlap = 'allow_all' then 0
        else (select count(*) from tocsin.jobs r where r.run_of = job.id) end;
end $$;

-- The first fence of runs that go beside others: with those of all runs it is a number that JavaScript has exactly.
create or replace function tocsin.first_fence_beside()
returns bigint language sql immutable parallel safe
    return 4503599627370496;

-- Whether some run of a job is active.
create or replace function tocsin.has_active_run(job_id uuid)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
        select from tocsin.jobs r
        where r.run_of = has_active_run.job_id and (r.next_run is not null or r.execution_id is not null));
end $$;

-- Whether a run of a job has to wait: for a run of its plan that has begun, or another one; with allow_all for room.
create or replace function tocsin.is_occupied(job tocsin.jobs)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when job.overlap = 'allow_all' then tocsin.max_parallel_runs() <= (
            select count(*) from tocsin.jobs r
            where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null))
        else job.attempt > 0 or tocsin.has_active_run(job.id) end;
end $$;

-- Whether a run of a job that is to go beside the others finds room.
create or replace function tocsin.has_room(job_id uuid)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return tocsin.max_parallel_runs() > (
        select count(*) from tocsin.jobs r
        where r.run_of = has_room.job_id and (r.next_run is not null or r.execution_id is not null));
end $$;

-- Whether some run of a job is unfinished: due, under way, or between two attempts, of its plan or beside it.
create or replace function tocsin.has_unfinished_run(job tocsin.jobs)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return job.attempt > 0 or num_nonnulls(job.locked_until, job.execution_id) > 0
        or coalesce(job.next_run <= clock_timestamp(), false)
        or exists (select from tocsin.jobs r where r.run_of = job.id);
end $$;

-- Lets a run that is asked for pass, as the overlap that was asked for with it has it, and returns the row of its job,
-- which is locked. skip: refuses the run while another is unfinished. buffer_one: those that wait are missed.
-- cancel_other: what is under way is cut off, and what waits for a retry is given up.
create or replace function tocsin.clear_way(job tocsin.jobs, policy text)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    under_way bigint;
begin
    if policy = 'skip' and tocsin.has_unfinished_run(job) then
        perform tocsin.refuse('overlap', 'is skip, and a run of the job is unfinished',
            'Ask again once that has ended, or leave overlap out: the run waits its turn then.');
    elsif policy = 'buffer_one' then
        perform set_config('tocsin.displaced', 'on', true);
        delete from tocsin.jobs r
        where r.run_of = job.id and r.next_run is null and r.execution_id is null and r.runs = 0 and r.overlap <> 'allow_all';
        perform set_config('tocsin.displaced', '', true);
    elsif policy = 'cancel_other' then
        perform set_config('tocsin.cancelled_for', 'overlap', true);
        for under_way in
            select j.execution_id from tocsin.jobs j
            where (j.id = job.id or j.run_of = job.id) and j.execution_id is not null
        loop
            perform tocsin.cancel(under_way);
        end loop;
        perform set_config('tocsin.cancelled_for', '', true);
        delete from tocsin.jobs r where r.run_of = job.id and r.attempt > 0 and r.execution_id is null;
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs j
        set next_run = null, attempt = 0, last_outcome = 'cancelled', last_finished_at = clock_timestamp(), runs = j.runs + 1,
            consecutive_failures = least(j.consecutive_failures, 2147483646) + 1,
            planned_at = case when j.run_at is not null or j.runs + 1 >= j.max_runs then j.planned_at end
        where j.id = job.id and j.attempt > 0 and j.execution_id is null;
        perform set_config('tocsin.runs', '', true);
    end if;
    select * into job from tocsin.jobs j where j.id = job.id;
    return job;
end $$;

-- Completes a run that is inserted, and counts it. Of what is given only the instant (run_at) and the request
-- are kept. Null: a trigger of users keeps its job from being written.
create or replace function tocsin.add_run(run tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    added tocsin.jobs := run;  -- with the defaults of columns that a later version adds
    policy text;
    woke boolean;
begin
    select * into job from tocsin.jobs j where j.id = run.run_of and j.run_of is null for no key update;
    if job.id is null then
        perform tocsin.refuse('run_of', format('%L is not the id of a job', run.run_of),
            'To run a job now: select tocsin.run_now(id).');
    end if;
    policy := case run.overlap when 'as_job' then job.overlap else run.overlap end;
    if policy in ('skip', 'buffer_one', 'cancel_other') then
        job := tocsin.clear_way(job, policy);
    elsif policy not in ('buffer_all', 'allow_all') then
        perform tocsin.refuse('overlap', format('cannot be %L', policy),
            'Write as_job, skip, buffer_one, buffer_all, cancel_other or allow_all.');
    end if;
    added.name := null;
    added.description := null;
    added.request := case when run.request = 'planned' then 'run_now' else coalesce(run.request, 'run_now') end;
    added.tags := '{}';
    added.metadata := '{}';
    added.run_at := coalesce(run.run_at, run.edited_at);
    added.scheduled_for := added.run_at;
    added.cron := null;
    added.every_seconds := null;
    added.timezone := 'UTC';
    added.starts_at := null;
    added.ends_at := null;
    added.max_runs := null;
    added.dst_gap := 'run_after';
    added.dst_overlap := 'first';
    added.misfire := 'run_once';
    added.misfire_grace_seconds := null;
    added.max_catchup := 0;
    added.overlap := case when 'allow_all' in (policy, job.overlap) then 'allow_all' else 'buffer_all' end;
    added.skip_runs := null;
    added.skip_until := null;
    added.calendars := null;
    added.on_closed := 'skip';
    added.min_gap_seconds := null;
    added.resumed_at := null;
    added.resume_missed := null;
    added.jitter_seconds := null;
    added.jitter_percent := null;
    added.next_run := null;
    added.attempt := 0;
    added.planned_at := run.edited_at;
    added.locked_until := null;
    added.locked_by := null;
    added.claimed_at := null;
    added.claimed_for := null;
    added.claimed_attempt := null;
    added.execution_id := null;
    added.unchecked := null;  -- its execution will
    added.last_outcome := null;
    added.last_finished_at := null;
    -- Of all executions of a job no two have the same fence: those of runs that go beside others count by themselves.
    added.fence := case when added.overlap = 'allow_all' then tocsin.first_fence_beside() + 1001 * (run.creation % 4000000000000)
        else job.fence end;
    added.creation := null;  -- its job has the entry
    added.pending_runs := 0;
    added.consecutive_failures := 0;
    added.runs := 0;
    -- A one-off that waits for its instant runs now instead.
    update tocsin.jobs j
    set pending_runs = j.pending_runs + case when j.overlap = 'allow_all' then 0 else 1 end,
        next_run = case
            when added.request = 'run_now' and j.run_at > added.run_at and j.next_run > added.run_at
                and j.locked_until is null and j.attempt = 0 then null
            else j.next_run end
    where j.id = job.id
    returning * into job;
    if job.id is null then
        return null;
    end if;
    added := tocsin.defined_run(added, job);
    added.validated := job.validated;
    added.edited_at := job.edited_at;
    if (case when added.overlap = 'allow_all' then not tocsin.has_room(job.id) else tocsin.is_occupied(job) end) then
        added.target := '{}';
        return added;
    end if;
    added.next_run := clock_timestamp();
    if added.flow_key is not null then
        perform tocsin.wake_flow(added.flow_key);
    elsif tocsin.is_soon(added, clock_timestamp()) then
        woke := tocsin.wake();
    end if;
    return added;
end $$;

-- What a person may change of a run: when it may be claimed, unless it waits for others or executes, and its
-- lease. A run whose next_run is taken away is given up.
create or replace function tocsin.edit_run(was tocsin.jobs, run tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
    edited tocsin.jobs := was;
begin
    if run.run_of is distinct from was.run_of then
        perform tocsin.refuse('run_of', 'says for good which job a run belongs to',
            'Leave it as it is. To run a job now: select tocsin.run_now(id).');
    end if;
    if was.next_run is not null and was.execution_id is null then
        edited.next_run := run.next_run;
    end if;
    run := tocsin.take_lease_away(was, run);
    edited.locked_until := run.locked_until;
    edited.locked_by := run.locked_by;
    edited.fence := greatest(run.fence, was.fence);
    edited.claimed_at := run.claimed_at;
    edited.claimed_for := run.claimed_for;
    edited.claimed_attempt := run.claimed_attempt;
    edited.execution_id := run.execution_id;
    edited.updated_at := moment;
    edited.edited_at := greatest(moment, was.edited_at + interval '1 microsecond');
    return edited;
end $$;

-- Makes the next run of a job active, unless one is, or a run of its plan has begun. A run whose row another
-- transaction has locked is passed over, as a settlement may not wait: its turn comes after the next run, or with
-- the upkeep.
create or replace function tocsin.start_run(job tocsin.jobs)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    run tocsin.jobs;
begin
    if tocsin.is_occupied(job) and not exists (
        select from tocsin.jobs r
        where r.run_of = job.id and r.overlap = 'allow_all' and r.next_run is null and r.execution_id is null and r.runs = 0
          and tocsin.has_room(job.id)) then
        return false;
    end if;
    select * into run from tocsin.jobs r
    where r.run_of = job.id and r.next_run is null and r.execution_id is null and r.runs = 0
      and (r.overlap = 'allow_all' or not tocsin.is_occupied(job))
    order by r.id limit 1
    for no key update skip locked;
    if run.id is null then
        return false;
    end if;
    run := tocsin.defined_run(run, job);
    run.validated := job.validated;
    run.edited_at := job.edited_at;
    run.fence := greatest(run.fence, job.fence);  -- so that of all executions of a job no two have the same
    run.next_run := clock_timestamp();
    run.planned_at := run.next_run;
    run.locked_until := null;
    perform tocsin.write_run(run);
    if run.flow_key is not null then
        perform tocsin.wake_flow(run.flow_key);
    end if;
    return true;
end $$;

-- Writes what a job says is to be done into its run, whose row is locked.
create or replace function tocsin.redefine_run(run tocsin.jobs, job tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    run := tocsin.defined_run(run, job);
    run.validated := job.validated;
    run.edited_at := greatest(job.edited_at, run.edited_at + interval '1 microsecond');
    perform tocsin.write_run(run);
end $$;

-- Lets the runs of a job follow it, and tells a job what became of its run. The settlement of a run has locked the
-- row of its job; any other write of an instance leaves a row out that another transaction has locked, so that no
-- instance waits here.
create or replace function tocsin.follow_runs()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    run tocsin.jobs;
    started boolean;
begin
    if new.run_of is not null then
        if new.next_run is null and new.execution_id is null and num_nonnulls(old.next_run, old.execution_id) > 0 then
            delete from tocsin.jobs where id = new.id;  -- see tocsin.end_run
        elsif new.last_finished_at is distinct from old.last_finished_at
            or (new.plan_error is not null and new.plan_error is distinct from old.plan_error) then
            perform set_config('tocsin.runs', 'on', true);
            update tocsin.jobs j
            set last_outcome = coalesce(new.last_outcome, j.last_outcome),
                last_finished_at = coalesce(new.last_finished_at, j.last_finished_at),
                plan_error = coalesce(new.plan_error, j.plan_error)
            where j.id = (
                select p.id from tocsin.jobs p where p.id = new.run_of for no key update skip locked);
            perform set_config('tocsin.runs', '', true);
        end if;
        return null;
    end if;
    if new.edited_at is distinct from old.edited_at or new.plan_error is distinct from old.plan_error then
        for run in
            select * from tocsin.jobs r where r.run_of = new.id and (r.next_run is not null or r.execution_id is not null)
        loop
            continue when tocsin.defined_run(run, new) *= run;
            if new.edited_at is not distinct from old.edited_at then  -- an instance, which may not wait
                select * into run from tocsin.jobs r where r.id = run.id for no key update skip locked;
            else
                select * into run from tocsin.jobs r where r.id = run.id for no key update;
            end if;
            continue when run.id is null;
            perform tocsin.redefine_run(run, new);
        end loop;
    end if;
    if new.locked_until is null and old.locked_until is not null and new.attempt = 0 then  -- see runs.check
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs r set next_run = clock_timestamp()
        where r.id in (
            select w.id from tocsin.jobs w
            where w.run_of = new.id and w.attempt = 0 and w.execution_id is null and w.next_run > clock_timestamp()
            for no key update skip locked);
        perform set_config('tocsin.runs', '', true);
    end if;
    if new.overlap = 'allow_all' then
        while tocsin.start_run(new) loop
            continue;
        end loop;
        return null;
    end if;
    started := tocsin.start_run(new);  -- by itself: Postgres need not call what cannot change the condition
    if not started and new.attempt = 0 and new.pending_runs <= old.pending_runs
        and not exists (select from tocsin.jobs r where r.run_of = new.id) then  -- the count was wrong
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs j set pending_runs = 0 where j.id = new.id;
        perform set_config('tocsin.runs', '', true);
    end if;
    return null;
end $$;

do $$ begin
    execute format($trigger$
        create or replace trigger jobs_850_follow_runs after update of %s on tocsin.jobs
            for each row when (new.pending_runs > 0 or new.run_of is not null or new.overlap = 'allow_all')
            execute function tocsin.follow_runs()
    $trigger$, tocsin.columns_beside_the_lease());
end $$;

-- Folds a run that has ended, by its settlement or as a person deleted it, into its job; the next run, or the plan,
-- goes on. A run that was asked for and did not begin is on record. The runs of a job that is deleted are deleted.
create or replace function tocsin.end_run()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    woke boolean;
    displaced constant boolean := coalesce(current_setting('tocsin.displaced', true), '') = 'on';
begin
    if old.run_of is null then
        delete from tocsin.jobs r where r.run_of = old.id;
        return null;
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set pending_runs = greatest(j.pending_runs - 1, 0),
        fence = case when old.fence >= tocsin.first_fence_beside() then j.fence else greatest(j.fence, old.fence) end,
        last_outcome = coalesce(old.last_outcome, j.last_outcome),
        last_finished_at = coalesce(old.last_finished_at, j.last_finished_at),
        consecutive_failures = case
            when old.runs = 0 or (old.last_outcome = 'cancelled' and old.consecutive_failures = 0)
                then j.consecutive_failures  -- did not begin, or a person cancelled it
            when old.consecutive_failures = 0 then 0
            else least(j.consecutive_failures, 2147483646) + 1 end,
        runs = j.runs + least(old.runs, 1)
    where j.id = old.run_of
    returning * into job;
    perform set_config('tocsin.runs', '', true);
    if old.runs = 0 and old.attempt = 0 then
        insert into tocsin.executions (
            job_id, fence, kind, scheduled_for, outcome, reason, missed_runs, missed_until, error)
        values (old.run_of, old.fence, old.kind, old.scheduled_for, 'missed',
            case when displaced then 'overlap' else 'deleted' end, 1, old.scheduled_for,
            case when displaced then 'waited its turn: another run was asked for with the overlap buffer_one'
                when job.id is null then 'the job was deleted before this run was started'
                else 'the run was deleted before this run was started' end);
    end if;
    if tocsin.is_claimable(job) and job.next_run < clock_timestamp() + tocsin.wake_window() then
        woke := tocsin.wake();
    elsif tocsin.is_flow_claimable(job) and job.next_run < clock_timestamp() + tocsin.wake_window() then
        perform tocsin.wake_flow(job.flow_key);
    end if;
    return null;
end $$;

create or replace trigger jobs_850_end_run after delete on tocsin.jobs
    for each row when (old.pending_runs > 0 or old.run_of is not null or old.overlap = 'allow_all')
    execute function tocsin.end_run();

-- Locks the job of a run for the settlement of the run; false: another transaction has it locked. Never waits.
create or replace function tocsin.hold_job(job_id uuid)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform from tocsin.jobs j where j.id = hold_job.job_id for no key update skip locked;
    return found or not exists (select from tocsin.jobs j where j.id = hold_job.job_id);
end $$;

-- Ends the lease of a job that ran out, for a run of it that was claimed, and records its execution as lost. Such
-- a lease stands beside runs when its plan was moved while it executed. False: the lease still holds, or another
-- transaction has the row locked.
create or replace function tocsin.end_lease(job_id uuid, ended_by timestamptz)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    refused text;
begin
    select * into job from tocsin.jobs j where j.id = end_lease.job_id for no key update skip locked;
    if job.id is null or job.locked_until > ended_by then
        return false;
    end if;
    if job.execution_id is not null then
        refused := tocsin.record_lost(json_build_array(json_build_object(
            'id', job.execution_id, 'job_id', job.id, 'fence', job.fence, 'kind', job.kind,
            'scheduled_for', job.claimed_for, 'attempt', job.claimed_attempt,
            'started_at', tocsin.earliest_start(job.claimed_at,
                -- claimed_for of a retry is the instant of its run; next_run is where the plan was moved to, if it was
                case when job.claimed_for < job.claimed_at then job.next_run else job.claimed_for end),
            'instance', job.locked_by, 'lease_ended_at', job.locked_until)));
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set locked_until = null, locked_by = null,
        claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
    where j.id = job.id;
    perform set_config('tocsin.runs', '', true);
    return found;
end $$;

-- Whether a run has ended but was not deleted.
create or replace function tocsin.is_over(run tocsin.jobs)
returns boolean language sql stable
    return run.next_run is null and (run.locked_until < clock_timestamp() or (run.execution_id is null and run.runs > 0));

-- What is wrong with the runs of jobs, among the newest :most runs and the newest :most jobs of each state that may
-- have some; null: all. What is written through the triggers leaves that behind only where another transaction had a
-- row locked. A run that is over is deleted with its settlement, and a run whose next_run was taken away while it
-- executed, once its lease ended. In one statement, as there may be many runs of which nothing is wrong.
create or replace function tocsin.unsound_runs(most bigint default null)
returns table (job_id uuid, problem text) language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
    return query
    with looked_at as (
        (select run_of as id from tocsin.jobs where run_of is not null order by run_of desc, id desc limit most)
        union
        select aside.id
        from unnest('{invalid,paused,retrying,runs}'::text[]) as listed (state)
        cross join lateral (
            select j.id, j.pending_runs from tocsin.jobs j
            where tocsin.is_aside(j) and tocsin.aside_state(j) = listed.state
            order by j.id desc limit most
        ) as aside
        where aside.pending_runs > 0
    )
    select looked_at.id, case
        when job.id is null then 'runs are left of a job that is gone'
        when runs.over > 0 then 'a run that is over was not deleted'
        when job.overlap <> 'allow_all' and job.pending_runs <> runs.many
            then format('pending_runs is %s, and it has %s', job.pending_runs, runs.many)
        when runs.differing > 0 then 'a run is not what the job says is to be done, or paused when the job is not'
        else 'a run waits though nothing is in its way' end
    from looked_at
    left join tocsin.jobs job on job.id = looked_at.id and job.run_of is null
    cross join lateral (
        select count(*) as many, count(*) filter (where num_nonnulls(r.next_run, r.execution_id) > 0) as active,
            count(*) filter (where tocsin.is_over(r)) as over,
            count(*) filter (where num_nonnulls(r.next_run, r.execution_id) > 0 and not
                row(r.kind, r.target, r.max_attempts, r.backoff_seconds, r.backoff_max_seconds,
                    r.timeout_seconds, r.paused_at, r.plan_error)::record
                operator(pg_catalog.*=) row(job.kind, job.target, job.max_attempts, job.backoff_seconds,
                    job.backoff_max_seconds, job.timeout_seconds, job.paused_at, job.plan_error)::record) as differing
        from tocsin.jobs r where r.run_of = looked_at.id
    ) as runs
    where job.id is null or runs.over > 0 or (job.overlap <> 'allow_all' and job.pending_runs <> runs.many) or runs.differing > 0
       or (runs.many > 0 and runs.active = 0 and job.attempt = 0);
end $$;

-- Mends what is wrong with the runs of jobs, and returns of how many: see tocsin.unsound_runs. Once an hour. A job
-- whose rows another transaction has locked, or refuses to be written, is left for the next hour.
create or replace function tocsin.resume_runs()
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one uuid;
    mended bigint := 0;
begin
    for one in
        select u.job_id from tocsin.unsound_runs() as u
    loop
        begin
            mended := mended + tocsin.mend_runs(one)::integer;
        exception when others then
            continue;  -- the doctor names it
        end;
    end loop;
    return mended;
end $$;

-- Mends what is wrong with the runs of one job; false: another transaction has it locked.
create or replace function tocsin.mend_runs(job_id uuid)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    run tocsin.jobs;
begin
    select * into job from tocsin.jobs j where j.id = mend_runs.job_id and j.run_of is null for no key update skip locked;
    if job.id is null and exists (select from tocsin.jobs j where j.id = mend_runs.job_id and j.run_of is null) then
        return false;
    end if;
    delete from tocsin.jobs where id in (
        select r.id from tocsin.jobs r
        where r.run_of = mend_runs.job_id
          and (tocsin.is_over(r) or (job.id is null and (r.execution_id is null or r.locked_until < clock_timestamp())))
        for update skip locked);
    if job.id is null then
        return true;
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set pending_runs = tocsin.count_pending(job)
    where j.id = job.id returning * into job;
    perform set_config('tocsin.runs', '', true);
    if job.id is null then  -- a trigger of users suppressed that
        return false;
    end if;
    for run in
        select * from tocsin.jobs r
        where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null)
          and not tocsin.defined_run(r, job) *= r
        for no key update skip locked
    loop
        perform tocsin.redefine_run(run, job);
    end loop;
    perform tocsin.start_run(job);
    return true;
end $$;

-- How a job stands that has runs of its own, by the one that is active.
create or replace function tocsin.state_of_runs(job_id uuid)
returns text language sql stable
    return case
        when exists (select from tocsin.jobs r where r.run_of = job_id and r.locked_until > now()) then 'executing'
        when exists (select from tocsin.jobs r where r.run_of = job_id and r.attempt > 0) then 'retrying'
        else 'scheduled' end;

-- Asks for a run beside the plan: a new one, due now, or `occurrence` again with its identity. Each call
-- is a run of its own, and they are carried out one after the other, before the planned run goes on. A
-- one-off that waits for its instant runs now instead, and a run that waits for its retry is retried
-- now. Returns the job; no row: there is no such job, or a retry is pending, which a replay must not displace.
create or replace function tocsin.run_now(job_id uuid, occurrence timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query select j.* from tocsin.run_now(job_id, occurrence, 'buffer_all') as j;
end $$;

-- Asks for a run beside the plan under an overlap, in place of waiting for a turn: as_job, as the job has it, skip,
-- buffer_one, buffer_all, cancel_other or allow_all: select tocsin.run_now(id, null, 'skip'). See tocsin.clear_way. Returns
-- the job; no row as without an overlap, or as it refuses the run.
create or replace function tocsin.run_now(job_id uuid, occurrence timestamptz, overlap text)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    waiting tocsin.jobs;  -- for its retry
    moment timestamptz;
begin
    select * into job from tocsin.jobs j where j.id = run_now.job_id and j.run_of is null for no key update;
    if job.id is null then
        return;
    end if;
    if coalesce(case overlap when 'as_job' then job.overlap else overlap end, 'buffer_all') not in ('buffer_one', 'buffer_all') then
        waiting := null;  -- tocsin.clear_way says what becomes of a retry
    elsif job.attempt > 0 and job.locked_until is null then
        waiting := job;
    elsif job.pending_runs > 0 then
        select * into waiting from tocsin.jobs r
        where r.run_of = job.id and r.attempt > 0 and r.locked_until is null and r.next_run is not null
        limit 1 for no key update;
    end if;
    moment := clock_timestamp();
    if waiting.id is not null and occurrence is not null then
        return;
    elsif waiting.next_run > moment then
        update tocsin.jobs j set next_run = moment where j.id = waiting.id;
        if not found then
            return;
        end if;
    else
        -- No two runs of a job have the same identity, whatever the resolution of the clock.
        while occurrence is null and (moment = job.scheduled_for or exists (
            select from tocsin.jobs r where r.run_of = job.id and r.scheduled_for = moment)) loop
            moment := moment + interval '1 microsecond';
        end loop;
        insert into tocsin.jobs (run_of, request, kind, target, run_at, overlap)
        values (job.id, case when occurrence is null then 'run_now' else 'replay' end,
            job.kind, '{}', coalesce(occurrence, moment), coalesce(run_now.overlap, 'buffer_all'));
        if not found then
            return;
        end if;
    end if;
    return query select j.* from tocsin.jobs j where j.id = job.id;
end $$;
