-- The whole present schema of Tocsin, for PostgreSQL 14 and later.
-- A fresh database:  psql -v ON_ERROR_STOP=1 -1 -f db/schema.sql -f db/triggers.sql
-- An existing one:   tocsin migrate  (or each newer file of db/migrations, then db/triggers.sql)

create schema tocsin;

create table tocsin.schema_migrations (
    version integer primary key,
    breaking boolean not null default false,  -- an instance built for an older version must not run
    applied_at timestamptz not null default now()
);
insert into tocsin.schema_migrations (version) values (1);

-- Time-ordered ids: newest first is a walk along the primary key, and inserts touch its last pages.
-- RFC 9562, version 7, with the fraction of the millisecond in the 12 bits that may order further.
create function tocsin.uuid7() returns uuid language sql volatile parallel safe as $$
    select (overlay(lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 4096000)::bigint), 15, '0')
        placing '7' from 13 for 0) || substr(gen_random_uuid()::text, 20))::uuid
$$;

-- What to do (kind, target), when (one of run_at, cron, every_seconds), and how it stands.
-- A person writes the columns down to paused_at; the rest is kept by triggers and instances.
create table tocsin.jobs (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C",  -- its index then serves prefixes too, whatever the database's locale
    description text,
    tags text[] not null default '{}',
    metadata jsonb not null default '{}',
    kind text not null,
    target jsonb not null,

    run_at timestamptz,
    cron text,
    timezone text not null default 'UTC',
    every_seconds numeric,
    dst_gap text not null default 'run_after',
    dst_overlap text not null default 'first',
    starts_at timestamptz,
    ends_at timestamptz,
    max_runs integer,

    max_attempts integer not null default 5,
    backoff_seconds numeric not null default 5,
    backoff_max_seconds numeric not null default 3600,
    timeout_seconds numeric not null default 30,
    misfire text not null default 'run_once',
    misfire_grace_seconds numeric,  -- null: 60 for a recurring job, no limit for a one-off
    max_catchup integer not null default 100,
    paused_at timestamptz,

    -- The plan. planned_at null: an instance has yet to work out next_run (a cron typed in psql).
    next_run timestamptz,
    scheduled_for timestamptz,
    attempt integer not null default 0,
    resume_at timestamptz,  -- the planned run that a run now or a replay put off
    planned_at timestamptz,
    plan_error text,

    -- The lease. claimed_at to execution_id say which execution of which run holds it, so that
    -- whoever takes the job over can record that one as lost, even after an edit of the plan.
    locked_until timestamptz,
    locked_by text,
    fence bigint not null default 0,
    claimed_at timestamptz,
    claimed_for timestamptz,
    claimed_attempt integer,
    execution_id bigint,

    last_outcome text,
    last_finished_at timestamptz,
    consecutive_failures integer not null default 0,
    runs bigint not null default 0,

    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),

    -- db/triggers.sql says the same in words with a remedy; these hold without it.
    constraint jobs_name_shape check (name ~ '^[^/[:cntrl:]]{1,200}$'),
    constraint jobs_kind_shape check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
    constraint jobs_tags_flat check (
        case when array_ndims(tags) > 1 then false else array_position(tags, null) is null end
    ),
    constraint jobs_target_object check (jsonb_typeof(target) = 'object'),
    constraint jobs_metadata_object check (jsonb_typeof(metadata) = 'object'),
    constraint jobs_one_schedule check (num_nonnulls(run_at, cron, every_seconds) = 1),
    constraint jobs_every_seconds_range check (every_seconds between 0.1 and 3155760000),
    constraint jobs_dst_gap_known check (dst_gap in ('run_after', 'skip')),
    constraint jobs_dst_overlap_known check (dst_overlap in ('first', 'last', 'both')),
    constraint jobs_window check (starts_at < ends_at),
    constraint jobs_max_runs_range check (max_runs >= 1),
    constraint jobs_max_attempts_range check (max_attempts between 1 and 1000),
    constraint jobs_backoff_seconds_range check (backoff_seconds between 0 and 31557600),
    constraint jobs_backoff_max_seconds_range check (backoff_max_seconds between 0 and 31557600),
    constraint jobs_timeout_seconds_range check (timeout_seconds between 0.1 and 86400),
    constraint jobs_misfire_known check (misfire in ('run_once', 'skip', 'run_all')),
    constraint jobs_misfire_grace_seconds_range
        check (misfire_grace_seconds between 0 and 3155760000),
    constraint jobs_max_catchup_range check (max_catchup between 0 and 10000),
    constraint jobs_attempt_range check (attempt >= 0),
    -- 'infinity' and years that Python cannot hold would break every reader of the row.
    constraint jobs_instants_range check (
        run_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and starts_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and ends_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and next_run between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and scheduled_for between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and resume_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and paused_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and locked_until between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and claimed_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and claimed_for between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and last_finished_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and created_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and updated_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
    )
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05
);

-- The claim and the wake-up: the instant a job can be claimed at, its due time or, while it is
-- leased, the end of its lease. One index for both questions; greatest() ignores a null lease.
create index jobs_claimable on tocsin.jobs (greatest(next_run, locked_until))
    where next_run is not null and paused_at is null and plan_error is null;

-- Rows that an instance has yet to plan: nearly always empty.
create index jobs_unplanned on tocsin.jobs (updated_at)
    where planned_at is null and plan_error is null;

-- What each instance holds: as many rows as there are executions under way.
create index jobs_leased on tocsin.jobs (locked_by) where locked_until is not null;

-- The states that people look for, newest first. No healthy claim or settlement writes to it.
create index jobs_aside on tocsin.jobs (id)
    where plan_error is not null or paused_at is not null
        or (attempt > 0 and locked_until is null)
        or (next_run is null and last_outcome in ('failed', 'timed_out', 'cancelled', 'lost'));

create unique index jobs_name on tocsin.jobs (name) where name is not null;
create index jobs_tags on tocsin.jobs using gin (tags) where tags <> '{}';

-- One row per attempt as carried out, and one per run that was missed. It outlives its job.
create sequence tocsin.executions_id_seq as bigint cache 1;

create table tocsin.executions (
    id bigint not null default nextval('tocsin.executions_id_seq'),
    job_id uuid not null,
    fence bigint,
    kind text not null,
    scheduled_for timestamptz not null,
    attempt integer,
    outcome text not null,
    reason text,
    started_at timestamptz,
    finished_at timestamptz not null default clock_timestamp(),
    instance text,
    status_code integer,
    response text,
    error text,
    missed_runs bigint,        -- a missed row may stand for many runs:
    missed_until timestamptz,  -- the last of them; scheduled_for is the first

    primary key (id, finished_at),
    constraint executions_outcome_known check (
        outcome in ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'missed')
    ),
    constraint executions_attempt_unless_missed check ((outcome = 'missed') = (attempt is null)),
    constraint executions_missed_whole check (
        (outcome = 'missed') = (missed_runs is not null)
        and (missed_runs is null) = (missed_until is null)
    )
) partition by range (finished_at);
alter sequence tocsin.executions_id_seq owned by tocsin.executions.id;

-- Newest first for one job, and the few that did not succeed for all of them.
create index executions_job on tocsin.executions (job_id, id desc);
create index executions_troubled on tocsin.executions (id desc) where outcome <> 'succeeded';

-- Takes what no day's partition does, so that recording never fails; tocsin.add_partitions empties it.
create table tocsin.executions_default partition of tocsin.executions default;

-- Who may use the API. Of a key only its digest is kept: it is 256 random bits, so no salt is needed.
create table tocsin.api_keys (
    id uuid primary key default tocsin.uuid7(),
    name text not null,
    prefix text not null,  -- the part of the key that may be shown
    hash bytea not null,
    scopes text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    last_used_at timestamptz,  -- to the minute
    revoked_at timestamptz,

    constraint api_keys_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint api_keys_prefix_shape check (prefix ~ '^[0-9a-f]{12}$'),
    constraint api_keys_hash_length check (length(hash) = 32),
    constraint api_keys_scopes_known check (scopes <> '{}' and scopes <@ array['read', 'write', 'admin'])
);
create unique index api_keys_prefix on tocsin.api_keys (prefix);
create unique index api_keys_name on tocsin.api_keys (name) where revoked_at is null;

-- Who changed what, written by triggers only; secrets in targets are left out. See db/triggers.sql.
create table tocsin.audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- The API key, as the API says in this setting; else the database user.
    actor text not null
        default coalesce(nullif(current_setting('tocsin.actor', true), ''), 'user ' || session_user),
    db_user text not null default session_user,  -- who logged in, whatever the setting says
    program text default nullif(current_setting('application_name', true), ''),
    action text not null,
    entity text not null,
    entity_id uuid not null,
    entity_name text,
    changed text[],
    before jsonb,
    after jsonb,

    constraint audit_log_action_known check (action in ('create', 'update', 'delete')),
    constraint audit_log_entity_known check (entity in ('job', 'key', 'secret'))
);
revoke all on tocsin.audit_log from public;
create index audit_log_entity on tocsin.audit_log (entity_id, id desc);
create index audit_log_at on tocsin.audit_log using brin (at);  -- for pruning: costs writers nothing

-- Named secrets, which targets refer to as ${secret:NAME}. A value comes here encrypted with a key of
-- TOCSIN_SECRET_KEYS, so not from psql: echo -n value | tocsin secrets set NAME
create table tocsin.secrets (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C" not null,
    value text not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),  -- when the value was set

    constraint secrets_name_shape check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$'),
    constraint secrets_value_encrypted check (value ~ '^encrypted\.v[0-9]+\.')
);
create unique index secrets_name on tocsin.secrets (name);
