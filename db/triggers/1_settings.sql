-- db/triggers/1_settings.sql: conditions and durations that several functions and queries share.

-- Functions and triggers; safe to apply again at any time, and applied after every migration.
-- db/triggers.sql is made of the files in db/triggers by `make triggers`: edit those.
-- Without the triggers nothing is lost: rows need next_run filled in by hand and start later.
-- Nothing here looks a name up in a schema that others may write to: each function has a search path
-- of its own, or a body that is bound when it is created.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;  -- a backslash is one, whatever is set for the database

-- Whether a job may be claimed once its time has come; the index jobs_claimable has the same condition. While
-- a job has runs of its own its plan waits for them, but not a run that has begun, which comes first. This and
-- what follows is inlined: it costs a query nothing but a look-up when it is planned.
create or replace function tocsin.is_claimable(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.next_run is not null and job.paused_at is null and job.plan_error is null
        and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is null;

-- Whether a job of a flow, which needs a permit besides, may be claimed once its time has come; the condition of the indexes
-- jobs_flow and jobs_flow_due.
create or replace function tocsin.is_flow_claimable(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.next_run is not null and job.paused_at is null and job.plan_error is null
        and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is not null;

-- Whether the starts of a job's runs are spread, so that next_run may lie behind scheduled_for. See
-- app/core/schedule/spread.py.
create or replace function tocsin.has_jitter(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.jitter_seconds is not null or job.jitter_percent is not null;

-- The highest priority; the usual one is 0. The rule of the column says so too.
create or replace function tocsin.highest_priority()
returns integer language sql immutable parallel safe
    return 3;

-- At which place a due job is claimed where more are due than can be: a level counts as a minute of waiting. See
-- app/core/runs/priority.py.
create or replace function tocsin.rank(due_at timestamptz, priority integer)
returns timestamptz language sql stable parallel safe
    return due_at - least(greatest(priority, 0), 3) * interval '1 minute';

-- Whether an instance has yet to plan a job; the condition of the index jobs_unplanned.
create or replace function tocsin.is_unplanned(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.planned_at is null and job.plan_error is null;

-- A write that makes a job due within so long wakes the instances. Each looks at least twice in that time.
create or replace function tocsin.wake_window()
returns interval language sql immutable parallel safe
    return interval '60 seconds';

-- Whether the instances have to know of a job at once: it has yet to be planned, or is due soon. The trigger
-- jobs_900_wake_update says the same in its WHEN, where a function would be planned anew for every statement.
create or replace function tocsin.is_soon(job tocsin.jobs, moment timestamptz)
returns boolean language sql stable parallel safe
    return job.paused_at is null and job.plan_error is null
        and (job.planned_at is null or job.next_run < moment + tocsin.wake_window());

-- The longest that an instance announces to poll; more was written before the clock was set back.
create or replace function tocsin.max_polling()
returns interval language sql immutable parallel safe
    return interval '5 seconds';

-- While a target written within so long is unchecked, an instance has been told and looks for others.
create or replace function tocsin.check_window()
returns interval language sql immutable parallel safe
    return interval '2 seconds';

-- The columns of tocsin.jobs but those of a lease: a trigger after an update of these is not called for a claim or an
-- extension, of which it would take a tenth of the time to read and plan its condition.
create or replace function tocsin.columns_beside_the_lease()
returns text language sql stable
    return (
        select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
        where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and not attisdropped
          and attname not in ('locked_until', 'locked_by', 'fence', 'attempt', 'claimed_at', 'claimed_for',
              'claimed_attempt', 'execution_id', 'validated'));
