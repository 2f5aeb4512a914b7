-- Flow control: a key on a job, limits per key, and what of them is used.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (5);

alter table tocsin.jobs add column flow_key text collate "C";

drop trigger jobs_200_sound on tocsin.jobs;
create trigger jobs_200_sound before update of
    id, name, description, tags, metadata, kind, target, run_at, cron, timezone, every_seconds,
    dst_gap, dst_overlap, starts_at, ends_at, max_runs, max_attempts, backoff_seconds,
    backoff_max_seconds, timeout_seconds, misfire, misfire_grace_seconds, max_catchup, paused_at,
    overlap, flow_key, created_at, updated_at, edited_at
    on tocsin.jobs for each row execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_200_sound;

-- The limits of flows, each of which is what jobs with the same flow_key share. A key with an asterisk is a
-- pattern: of what a flow leaves null it has what the longest pattern says that matches its key.
create table tocsin.flows (
    flow_key text collate "C" primary key,
    max_concurrency integer,  -- executions at the same time, over all instances
    rate integer,             -- starts in any period_seconds
    period_seconds numeric not null default 1,
    burst integer,            -- starts in any period_seconds * burst / rate; null: as many as the rate
    paused_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    id uuid not null default tocsin.uuid7(),  -- for the audit log

    constraint flows_flow_key_shape check (flow_key ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint flows_max_concurrency_range check (max_concurrency between 1 and 1000000),
    constraint flows_rate_range check (rate between 1 and 1000000),
    constraint flows_period_seconds_range check (period_seconds between 0.1 and 31557600 and scale(period_seconds) <= 100),
    constraint flows_burst_range check (burst between 1 and 1000000 and (burst is null or rate is not null)
        and burst * period_seconds / rate <= 31557600),
    constraint flows_within_range check (
        least(paused_at, created_at, updated_at) >= '2000-01-01 00:00Z'
        and greatest(paused_at, created_at, updated_at) <= '2200-01-01 00:00Z')
);
create index flows_patterns on tocsin.flows (flow_key) where strpos(flow_key, '*') > 0;

-- How each flow stands, as instances keep it: they lock its row while they give permits. held_until: what the
-- target asked for, in Retry-After, and why. waiting_since: from when on some of its jobs waited for a permit.
create table tocsin.flow_states (
    flow_key text collate "C" primary key,
    held_until timestamptz,
    held_for text,
    waiting_since timestamptz,

    constraint flow_states_within_range check (
        least(held_until, waiting_since) >= '2000-01-01 00:00Z'
        and greatest(held_until, waiting_since) <= '2200-01-01 00:00Z'
        and greatest(octet_length(flow_key), octet_length(held_for)) <= 2000)
);

-- Starts of flows that have a rate: how many one instance claimed in one look, and when the last of them started at
-- the latest. Kept as long as they count.
create table tocsin.flow_starts (
    flow_key text collate "C" not null,
    granted_at timestamptz not null,
    instance text not null,
    many integer not null,
    latest timestamptz not null,

    primary key (flow_key, granted_at, instance),
    constraint flow_starts_within_range check (
        least(granted_at, latest) >= '2000-01-01 00:00Z' and greatest(granted_at, latest) <= '2200-01-01 00:00Z'
        and many between 0 and 1000000 and octet_length(instance) <= 2000)
);
create index flow_starts_latest on tocsin.flow_starts (flow_key, latest);

alter table tocsin.audit_log drop constraint audit_log_entity_known;
alter table tocsin.audit_log add constraint audit_log_entity_known check (entity in ('job', 'key', 'secret', 'flow')) not valid;

commit;
