-- db/triggers/8_verbs.sql: what is done with a job by its name, by those who see no targets.

-- What follows acts on a job by its name, or by its id as text, and, unless its own words say otherwise, answers with its id;
-- null: there is no such job, or a trigger of users suppresses it. It runs with the rights of the tables' owner, for roles that see no targets: see
-- db/roles.sql, which lets the role of writers call it.

-- Pauses a job that is given by its name, or by its id as text: says why (reason, up to 1,000 characters), and until when; null:
-- until it is resumed. What executes goes on. Returns the id; null: there is no such job.
create or replace function tocsin.pause_job(job text, reason text default null, until timestamptz default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.pause(tocsin.job_id(pause_job.job), pause_job.reason, pause_job.until) as j
$$;

-- Resumes a job that is given by its name, or by its id as text. missed says what becomes of the runs that were due meanwhile:
-- skip, once (the latest) or all (up to max_catchup); null: as the misfire of the job says. Returns the id; null: there is
-- no such job.
create or replace function tocsin.resume_job(job text, missed text default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.resume(tocsin.job_id(resume_job.job), resume_job.missed) as j
$$;

-- Skips the next so many runs (from 1) of the plan of a job that is given by its name, or by its id as text; 0 takes that
-- back. Returns the id; null: there is no such job.
create or replace function tocsin.skip_next(job text, runs integer default 1)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if runs = 0 then
        return (select j.id from tocsin.unskip(tocsin.job_id(skip_next.job)) as j);
    end if;
    return (select j.id from tocsin.skip(tocsin.job_id(skip_next.job), skip_next.runs) as j);
end $$;

-- Makes a job that is given by its name, or by its id as text, due now, beside its plan. Returns its id; null: there is no such
-- job.
create or replace function tocsin.run_job(job text)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.run_now(tocsin.job_id(run_job.job)) as j
$$;

-- Cuts off what a job executes that is given by its name, or by its id as text; with retry it is tried again after the
-- backoff, if max_attempts leaves an attempt. Returns the id of the execution; null: nothing is under way.
create or replace function tocsin.cancel_job(job text, retry boolean default false)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    under_way bigint;
begin
    select tocsin.execution_under_way(j) into under_way from tocsin.jobs j where j.id = tocsin.job_id(cancel_job.job);
    return (select x.id from tocsin.cancel(under_way, cancel_job.retry) as x);
end $$;

-- Carries out the runs that the schedule of a job, given by its name, or by its id as text, has in [since, until). rate_per_second:
-- how many are asked for in a second; null: no limit. overlap: as with tocsin.run_now. Returns the id of the bulk action, which
-- instances carry out after COMMIT; the name of no job is an error.
create or replace function tocsin.backfill_job(
    job text, since timestamptz, until timestamptz, rate_per_second numeric default null, overlap text default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select tocsin.backfill(backfill_job.job, backfill_job.since, backfill_job.until, backfill_job.rate_per_second,
        backfill_job.overlap)
$$;

-- Explains why a job, given by its name, or by its id as text, has not run, or, with at, what became of the run of that instant.
-- Returns the reasons, the one that holds it first, as tocsin.explain does; no row: there is no such job.
create or replace function tocsin.explain_job(job text, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select e.* from tocsin.explain(explain_job.job, explain_job.at) as e
$$;

revoke all on function tocsin.pause_job, tocsin.resume_job, tocsin.skip_next, tocsin.run_job, tocsin.cancel_job,
    tocsin.backfill_job, tocsin.explain_job from public;
