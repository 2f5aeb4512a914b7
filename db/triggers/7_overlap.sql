-- db/triggers/7_overlap.sql: runs of a job side by side, where its overlap is allow_all.

-- The most runs of a job that are under way at once; what comes due beyond waits, as with buffer_all.
create or replace function tocsin.max_parallel_runs()
returns integer language sql immutable parallel safe
    return 100;

-- Parts a run of the plan, which is claimed and about to start, from its job: the run with its lease becomes a row of
-- its own, and the job is planned for `following`, which starts at starts_at, and may be claimed again. Returns the edited_at of that row, also
-- when asked again; null: the run goes on as its job's own row, and what comes due waits for it.
-- The fence of the job leaves room for those of the run, so that of all executions of a job no two have the same.
create or replace function tocsin.part_run(
    claimed uuid, claim_fence bigint, at timestamptz, due timestamptz, run_id uuid, following timestamptz,
    starts_at timestamptz)
returns timestamptz language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    run tocsin.jobs;
    many bigint;
begin
    select * into run from tocsin.jobs r where r.id = part_run.run_id and r.run_of = claimed;
    if run.id is not null then
        return run.edited_at;
    end if;
    select * into job from tocsin.jobs j
    where j.id = claimed and j.fence = claim_fence and j.claimed_at = at and j.execution_id is not null
      and j.locked_until is not null and j.run_of is null
    for no key update skip locked;
    if job.id is null or job.overlap <> 'allow_all' or job.next_run is distinct from due or job.plan_error is not null then
        return null;
    end if;
    many := (select count(*) from tocsin.jobs r where r.run_of = job.id);
    if many >= tocsin.max_parallel_runs() - 1 then
        return null;
    end if;
    run := job;
    run.id := part_run.run_id;
    run.run_of := job.id;
    run.request := 'planned';
    run.name := null;
    run.description := null;
    run.tags := '{}';
    run.metadata := '{}';
    run.run_at := coalesce(job.claimed_for, job.scheduled_for, job.next_run);
    run.scheduled_for := run.run_at;
    run.cron := null;
    run.every_seconds := null;
    run.timezone := 'UTC';
    run.starts_at := null;
    run.ends_at := null;
    run.max_runs := null;
    run.dst_gap := 'run_after';
    run.dst_overlap := 'first';
    run.misfire := 'run_once';
    run.misfire_grace_seconds := null;
    run.max_catchup := 0;
    run.overlap := 'buffer_all';
    run.planned_at := clock_timestamp();
    run.unchecked := null;
    run.last_outcome := null;
    run.last_finished_at := null;
    run.skip_runs := null;
    run.skip_until := null;
    run.jitter_seconds := null;
    run.jitter_percent := null;
    run.calendars := null;
    run.on_closed := 'skip';
    run.min_gap_seconds := null;
    run.pending_runs := 0;
    run.consecutive_failures := 0;
    run.runs := 0;
    perform set_config('tocsin.runs', 'on', true);
    insert into tocsin.jobs select (run).* returning * into run;
    if run.id is not null then
        update tocsin.jobs j
        set next_run = case when j.max_runs <= j.runs + many + 1 then null else part_run.starts_at end,
            scheduled_for = case when j.max_runs <= j.runs + many + 1 then j.scheduled_for
                else coalesce(following, j.scheduled_for) end,
            attempt = 0, fence = j.fence + 1001, locked_until = null, locked_by = null,
            claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
        where j.id = job.id;
        if not found then  -- a trigger of users suppressed it
            raise exception using errcode = 'TC001', message = 'suppressed';
        end if;
    end if;
    perform set_config('tocsin.runs', '', true);
    if job.flow_key is not null and part_run.starts_at < clock_timestamp() + tocsin.wake_window() then
        perform tocsin.wake_flow(job.flow_key);
    end if;
    return run.edited_at;
exception when others then  -- a trigger or constraint of users: the run goes on as before
    return null;
end $$;
