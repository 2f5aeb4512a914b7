-- Calendars that jobs keep to or avoid, and a gap between runs: see db/triggers/7_calendars.sql.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (18);

alter table tocsin.jobs
    add column calendars text[] collate "C",
    add column on_closed text not null default 'skip',
    add column min_gap_seconds numeric;

drop trigger jobs_200_sound on tocsin.jobs;
create trigger jobs_200_sound before update of
    id, name, description, tags, metadata, kind, target, run_at, cron, timezone, every_seconds,
    dst_gap, dst_overlap, starts_at, ends_at, max_runs, max_attempts, backoff_seconds,
    backoff_max_seconds, timeout_seconds, misfire, misfire_grace_seconds, max_catchup, paused_at,
    overlap, flow_key, jitter_seconds, jitter_percent, priority, calendars, on_closed, min_gap_seconds, created_at, updated_at, edited_at
    on tocsin.jobs for each row execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_200_sound;

-- Named sets of time: the union of days, weekly hours, public holidays, rules and events. What people write is in
-- timezone to ical; an instance, or the API, works out from it the times from a year ago to five years ahead.
create table tocsin.calendars (
    name text collate "C" primary key,
    description text,
    timezone text not null default 'UTC',
    dates text[] not null default '{}',
    weekly text[] not null default '{}',
    holidays text[] not null default '{}',
    rrules text[] not null default '{}',
    ical text,

    times tstzmultirange,      -- null: they have yet to be worked out
    worked_out_at timestamptz, -- null: what is written was changed since, or is new
    error text,                -- why they cannot be worked out; the jobs that use the calendar are invalid then
    replan_after uuid,         -- the jobs behind this one have yet to be replanned by these times; null: none have

    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    id uuid not null default tocsin.uuid7(),  -- for the audit log

    constraint calendars_name_shape check (name ~ '^[^!,/\u0001-\u001f\u007f-\u009f][^,/\u0001-\u001f\u007f-\u009f]{0,99}$'),
    constraint calendars_within_bounds check (
        length(description) <= 10000 and length(timezone) <= 100 and length(error) <= 10000
        and cardinality(dates) <= 2000 and cardinality(weekly) <= 20 and cardinality(holidays) <= 20
        and cardinality(rrules) <= 50 and octet_length(ical) <= 262144
        and octet_length(dates::text || weekly::text || holidays::text || rrules::text) <= 100000),
    constraint calendars_within_range check (
        least(worked_out_at, created_at, updated_at) >= '2000-01-01 00:00Z'
        and greatest(worked_out_at, created_at, updated_at) <= '2200-01-01 00:00Z')
);
create index calendars_to_do on tocsin.calendars (name) where worked_out_at is null or replan_after is not null;
grant select on tocsin.calendars to public;

-- Which jobs use which calendars; triggers keep it.
create table tocsin.job_calendars (
    calendar text collate "C" not null references tocsin.calendars,
    job_id uuid not null,
    primary key (calendar, job_id)
);
create index job_calendars_job on tocsin.job_calendars (job_id);

alter table tocsin.audit_log drop constraint audit_log_entity_known;
alter table tocsin.audit_log add constraint audit_log_entity_known
    check (entity in ('job', 'key', 'secret', 'flow', 'bulk', 'pause', 'alert_rule', 'alert_channel', 'calendar')) not valid;

commit;
