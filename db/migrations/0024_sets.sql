-- Jobs in files: which set a job, a calendar, a flow, a channel or an alert rule belongs to.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (24);

-- Sets of jobs, and of what belongs to jobs, that a file declares: `tocsin apply` writes them together. Nothing but
-- plans and applications of sets reads these tables.
create table tocsin.sets (
    name text collate "C" primary key,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null default tocsin.actor(),
    created_at timestamptz not null default clock_timestamp(),

    constraint sets_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint sets_within_range check (
        least(applied_at, created_at) >= '2000-01-01 00:00Z' and greatest(applied_at, created_at) <= '2200-01-01 00:00Z'
        and length(applied_by) <= 2000)
);

-- What belongs to a set, each to one: a job by its id, all else by its name.
create table tocsin.set_members (
    kind text not null,
    name text collate "C" not null,
    set_name text collate "C" not null references tocsin.sets on delete cascade,
    job_id uuid,
    applied jsonb not null,  -- as the file had it, without secrets: what differs from it was changed elsewhere
    removed_at timestamptz,  -- since when the file does not have it

    primary key (kind, name),
    constraint set_members_kind_known check (
        kind in ('job', 'calendar', 'flow', 'channel', 'rule') and (kind = 'job') = (job_id is not null)),
    constraint set_members_applied_shape check (jsonb_typeof(applied) = 'object' and tocsin.fits(applied, 1048576)),
    constraint set_members_within_range check (
        removed_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' and length(name) <= 200)
);
create index set_members_set on tocsin.set_members (set_name, kind, name);
create unique index set_members_job on tocsin.set_members (job_id) where job_id is not null;

commit;
