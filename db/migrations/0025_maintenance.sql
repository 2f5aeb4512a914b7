-- Maintenance windows, laid over a tag or over all jobs: see db/triggers/7_maintenance.sql.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (25);

-- A window has the time of a calendar, or that from starts_at to ends_at. Runs that are due in it are missed
-- (on_closed skip), or start once it is over (next_open).
create table tocsin.maintenance (
    id uuid primary key default tocsin.uuid7(),
    tag text collate "C",  -- null: all jobs
    calendar text collate "C" references tocsin.calendars,
    starts_at timestamptz,
    ends_at timestamptz,
    on_closed text not null default 'skip',
    reason text,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null default tocsin.actor(),

    constraint maintenance_one_time check (
        num_nonnulls(starts_at, ends_at) = case when calendar is null then 2 else 0 end and (calendar is not null or starts_at < ends_at)),
    constraint maintenance_tag_shape check (tag <> '' and tag !~ ',' and length(tag) <= 200),
    constraint maintenance_on_closed_known check (on_closed in ('skip', 'next_open')),
    constraint maintenance_within_range check (
        least(starts_at, created_at) >= '2000-01-01 00:00Z' and greatest(ends_at, created_at) <= '2200-01-01 00:00Z'
        and length(reason) <= 1000 and length(created_by) <= 2000)
);
grant select on tocsin.maintenance to public;

-- The jobs whose run a window has put off, for when it ends sooner, or later.
create table tocsin.put_off_runs (
    job_id uuid primary key,
    window_id uuid,  -- null: that window has changed
    until timestamptz not null
);
create index put_off_runs_window on tocsin.put_off_runs (window_id);
create index put_off_runs_until on tocsin.put_off_runs (until);

alter table tocsin.audit_log drop constraint audit_log_entity_known;
alter table tocsin.audit_log add constraint audit_log_entity_known
    check (entity in ('job', 'key', 'secret', 'flow', 'bulk', 'pause', 'alert_rule', 'alert_channel', 'calendar', 'maintenance')) not valid;

commit;
