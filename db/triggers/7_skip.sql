-- db/triggers/7_skip.sql: skips runs of the plan of a job, and takes that back.

-- Whether the next run of the plan is to be skipped; a run that has begun goes on with its retries.
create or replace function tocsin.is_skipped(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.attempt = 0 and coalesce(job.skip_runs > 0 or job.skip_until > coalesce(job.scheduled_for, job.next_run), false);

-- Skips the next so many runs of the plan, or all before an instant, in place of what was to be skipped before:
-- select tocsin.skip('nightly-report', 3); select tocsin.skip('nightly-report', until => '2030-02-01 09:00Z');
-- Each is dropped by an instance when its time comes, and on record as missed, reason skipped; until then
-- tocsin.unskip takes it back. The plan stays as it is, runs that were asked for are carried out, and so is a run that
-- has begun. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.
create or replace function tocsin.skip(job uuid, runs integer default null, until timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stored tocsin.jobs;
begin
    if num_nonnulls(runs, until) <> 1 then
        perform tocsin.refuse(case when runs is null then 'skip_runs' else 'skip_until' end,
            'has to be given alone', 'Write how many runs to skip, or until when: tocsin.skip(''nightly-report'', 3).');
    end if;
    if until <= clock_timestamp() then
        perform tocsin.refuse('skip_until', 'has passed', 'Write a later instant.');
    end if;
    select * into stored from tocsin.jobs j where j.id = skip.job and j.run_of is null;
    if stored.id is not null and stored.next_run is null and stored.planned_at is not null and stored.locked_until is null
        and stored.pending_runs = 0 then
        perform tocsin.refuse(case when runs is null then 'skip_until' else 'skip_runs' end,
            'has nothing to skip: no run of the job is planned', 'Give the job a schedule that has runs left.');
    end if;
    return query
        update tocsin.jobs j set skip_runs = skip.runs, skip_until = skip.until
        where j.id = skip.job and j.run_of is null returning j.*;
end $$;

-- Takes back what is to be skipped and has not come yet. Returns the job; no row as above.
create or replace function tocsin.unskip(job uuid)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query
        update tocsin.jobs j set skip_runs = null, skip_until = null
        where j.id = unskip.job and j.run_of is null returning j.*;
end $$;

-- The id of a job that is given by its name or by its id as text; null: there is none.
create or replace function tocsin.job_id(job text)
returns uuid language sql stable
    return coalesce(
        (select j.id from tocsin.jobs j where j.name = job_id.job),
        case when job_id.job ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then job_id.job::uuid end);

-- Skips runs of the plan of a job that is given by its name, or by its id as text: the next so many (runs, from 1), or all
-- before an instant (until). Each is on record as missed, reason skipped, when its time comes; until then tocsin.unskip takes
-- it back. Returns the job; no row: a trigger of users suppresses the change, or there is no such job.
create or replace function tocsin.skip(job text, runs integer default null, until timestamptz default null)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.skip(tocsin.job_id(skip.job), skip.runs, skip.until) as s;
end;

-- Takes back what is to be skipped of a job, given by its name or by its id as text, and has not come yet. Returns the job;
-- no row: there is no such job.
create or replace function tocsin.unskip(job text)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.unskip(tocsin.job_id(unskip.job)) as s;
end;
