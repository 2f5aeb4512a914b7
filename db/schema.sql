-- The whole present schema of Tocsin, for PostgreSQL 14 and later.
-- A fresh database:  psql -v ON_ERROR_STOP=1 -1 -f db/schema.sql -f db/triggers.sql
-- An existing one:   tocsin migrate  (or each newer file of db/migrations, then db/triggers.sql)

set search_path = pg_catalog, pg_temp;  -- so that no name means what others put into public
set standard_conforming_strings = on;  -- a backslash is one, whatever is set for the database

-- One that was made beforehand, by somebody with the right to, is used.
do $$ begin
    if to_regnamespace('tocsin') is null then
        create schema tocsin;
    end if;
end $$;

create table tocsin.schema_migrations (
    version integer primary key,
    breaking boolean not null default false,  -- an instance built for an older version must not run
    applied_at timestamptz not null default now()
);
insert into tocsin.schema_migrations (version) values (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18), (19), (20), (21), (22), (23), (24), (25), (26), (27), (28), (29), (30), (31), (32), (33), (34), (35), (36), (37), (38), (39), (40), (41);

-- What `tocsin migrate` applied of db/triggers.sql, by the digests of the file and of the functions
-- and triggers it found afterwards: where both are the same nothing is left to do, and no lock to take.
create table tocsin.schema_functions (
    one boolean primary key default true check (one),
    source text not null,
    catalog text not null,
    release text not null,  -- of Tocsin; an older one replaces nothing
    applied_at timestamptz not null default now()
);

-- Time-ordered ids: newest first is a walk along the primary key, and inserts touch its last pages.
-- RFC 9562, version 7, with the fraction of the millisecond in the 12 bits that may order further.
create function tocsin.uuid7() returns uuid language sql volatile parallel safe
    return (overlay(lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 4096000)::bigint), 15, '0')
        placing '7' from 13 for 0) || substr(gen_random_uuid()::text, 20))::uuid;

-- Who acts, for the audit log: the API key, as the API says in a setting. Anybody can set that, so it
-- is believed only of a role that could write the log itself; of others it stands there as a claim.
create function tocsin.actor() returns text language sql stable
    return case
        when coalesce(current_setting('tocsin.actor', true), '') = '' then 'user ' || session_user
        when has_table_privilege(session_user, 'tocsin.audit_log', 'insert')
            then left(current_setting('tocsin.actor', true), 1000)
        else 'user ' || session_user || ', claiming to be ' || left(current_setting('tocsin.actor', true), 200)
    end;

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
    validated boolean not null default false,  -- set by the first claim: the row was found sound before
    unchecked boolean default true,  -- an instance has yet to check the target; null: its run does, soon

    -- A run that is asked for beside the plan, by a run now or a replay, is a row of its own: of which job,
    -- and what asked for it. Of a job: how many of these are not over. See db/triggers/7_runs.sql.
    run_of uuid,
    request text,
    pending_runs integer not null default 0,

    last_outcome text,
    last_finished_at timestamptz,
    consecutive_failures integer not null default 0,
    runs bigint not null default 0,

    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    -- The latest edit, which every compare-and-set goes by: users have triggers of their own that set
    -- updated_at whenever a row is written.
    edited_at timestamptz not null default clock_timestamp(),

    -- The job's first entry in the audit log: its number until it is written there, at the first
    -- change; the actor, the database user and the program. Triggers fill it in and keep it.
    creation bigint,
    created_by text,
    created_as text,
    created_with text,

    -- What becomes of a run that comes due while the one before is under way; a person writes it too.
    overlap text not null default 'buffer_all',

    -- Runs of the plan that are dropped when their time comes: so many, or all before an instant. See tocsin.skip.
    skip_runs integer,
    skip_until timestamptz,

    -- Jobs with the same key share the limits of that flow: see db/triggers/7_flows.sql.
    flow_key text collate "C",

    -- What becomes of the runs that were due while the job was paused, up to this instant: see tocsin.resume.
    resumed_at timestamptz,
    resume_missed text,

    -- Over how much time the starts of its runs are spread: at most one of the two. next_run is then the effective
    -- instant, which is later than scheduled_for. See app/core/schedule/spread.py.
    jitter_seconds numeric,
    jitter_percent numeric,

    -- Where more is due than can start: a level counts as a minute of waiting. 0 is the usual and the lowest.
    priority integer not null default 0,

    -- The calendars that the job keeps to, or with a "!" before the name avoids; what becomes of a run in closed
    -- time; and how long after the end of a run the next one starts at the earliest. See db/triggers/7_calendars.sql.
    calendars text[] collate "C",
    on_closed text not null default 'skip',
    min_gap_seconds numeric
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05
);

create function tocsin.refuse(column_name text, message text, hint text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = 'jobs',
        column = column_name, message = column_name || ' ' || message, hint = hint;
end $$;

-- Whether a document has at most so many bytes as Postgres writes it out, which may be ten thousand times
-- what is stored: 1e131071 takes 16 bytes there. So of a long document the numbers are written first, few
-- at a time and up to the limit. All else takes at most six bytes for one, as \u0001 does, and at least a
-- sixteenth of what is stored; where that decides, nothing is written.
create function tocsin.fits(document jsonb, most integer)
returns boolean language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    stored constant bigint := pg_column_size(document || '{}');  -- as compressed as it may come
    numbers jsonb;
    total bigint := 0;
begin
    if stored > 16::bigint * most then
        return false;
    end if;
    if document @? '$.** ? (@.type() == "number")' then  -- lax: ends at the first
        if stored <= 16384 then
            return octet_length(document::text) <= most;
        end if;
        numbers := jsonb_path_query_array(document, 'strict $.** ? (@.type() == "number")');
        for place in 0..jsonb_array_length(numbers) - 1 by 32 loop
            total := total + octet_length(jsonb_path_query_array(
                numbers, '$[$first to $last]', jsonb_build_object('first', place, 'last', place + 31))::text);
            if total > most + 4 * place + 256 then  -- brackets, commas and spaces apart
                return false;
            end if;
        end loop;
    end if;
    return 6 * stored + total <= most or octet_length(document::text) <= most;
end $$;

-- The same, for the many documents that are too short for any care; the shortest have room for no number.
create function tocsin.fits_at_once(document jsonb, most integer)
returns boolean language sql stable parallel safe
    return case when pg_column_size(document) < 16 then true
        when pg_column_size(document) < 1000 and pg_column_compression(document) is null
            then octet_length(document::text) <= most
        else tocsin.fits(document, most) end;

-- Whether a document has more than 100 levels, each of which takes at least 8 bytes.
create function tocsin.is_deep(document jsonb)
returns boolean language sql stable parallel safe
    return (pg_column_size(document) >= 800 or pg_column_compression(document) is not null)
        and document @? '$.**{100}';

-- Which rule a row breaks; its body is in db/triggers/4_rules.sql, which replaces this one.
create function tocsin.broken_rule(job tocsin.jobs, refusing boolean)
returns text[] language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'db/triggers.sql has yet to be applied';
end $$;

-- Judged when it is inserted, with triggers or without, and as long as nobody has claimed it.
alter table tocsin.jobs add constraint jobs_sound check (validated or tocsin.broken_rule(jobs, true) is null);

-- And whenever a person changes it, if the constraint will not. Claims, extensions and settlements write
-- none of these columns, so they pay for no judgement. Fired for replicated rows as well.
create function tocsin.refuse_unsound()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    broken text[];
begin
    if new.validated then
        broken := tocsin.broken_rule(new, true);
    end if;
    return new;
end $$;

create trigger jobs_200_sound before update of
    id, name, description, tags, metadata, kind, target, run_at, cron, timezone, every_seconds,
    dst_gap, dst_overlap, starts_at, ends_at, max_runs, max_attempts, backoff_seconds,
    backoff_max_seconds, timeout_seconds, misfire, misfire_grace_seconds, max_catchup, paused_at,
    overlap, flow_key, jitter_seconds, jitter_percent, priority, calendars, on_closed, min_gap_seconds, created_at, updated_at, edited_at
    on tocsin.jobs for each row execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_200_sound;

-- The same of what is skipped. Apart, as a settlement counts it down, which is no edit.
create trigger jobs_210_skip_sound before update of skip_runs, skip_until, resumed_at, resume_missed on tocsin.jobs
    for each row when (num_nonnulls(new.skip_runs, new.skip_until, new.resumed_at, new.resume_missed) > 0)
    execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_210_skip_sound;

-- The instants that instances write are judged each time: one of them out of range would break not
-- its own job but every look. Short, as its text is read anew for every statement.
alter table tocsin.jobs add constraint jobs_within_range check (
    least(next_run, scheduled_for, locked_until, last_finished_at) >= '2000-01-01 00:00Z'
    and greatest(next_run, scheduled_for, locked_until, last_finished_at) <= '2200-01-01 00:00Z'
);

-- The job itself, as indexes name it. An update compares every column that an index names, old and new, in case no index
-- has to be written: 24,000 instructions of a claim and of a settlement, and in vain, as each changes when the job can be
-- claimed. Of a whole row nothing is compared, and Postgres plans with the columns alone, as it inlines this function.
-- See docs/adr/0141-indexes-of-whole-rows.md.
create function tocsin.whole(job tocsin.jobs) returns tocsin.jobs language sql immutable parallel safe
    return job;

-- The claim and the wake-up: the instant a job can be claimed at, its due time or, while it is
-- leased, the end of its lease. One index for both questions; greatest() ignores a null lease.
-- While a job has runs of its own its plan waits for them, but not a run that has begun. Jobs of a flow have
-- indexes of their own: of 100,000 that wait for a permit a look must not see one.
create index jobs_claimable on tocsin.jobs (greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is null;

-- The same of jobs of a flow, flow by flow, and of all flows together for the lists.
create index jobs_flow on tocsin.jobs (flow_key, greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is not null;
create index jobs_flow_due on tocsin.jobs (greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is not null;

-- The permits of each flow that are taken: its leases.
create index jobs_flow_leases on tocsin.jobs (flow_key, ((tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).locked_until is not null and flow_key is not null;

-- The same as jobs_claimable and jobs_flow for jobs of a raised priority, by level: empty where nobody has raised any.
-- See claims.look_by_priority.
create index jobs_raised on tocsin.jobs
    (flow_key, ((tocsin.whole(jobs)).priority), greatest((tocsin.whole(jobs)).locked_until, (tocsin.whole(jobs)).next_run))
    where (tocsin.whole(jobs)).priority > 0 and (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0);

-- The runs of a job that are asked for and not over, in their order. Without a foreign key, which every
-- deletion of a job would pay for.
create index jobs_runs on tocsin.jobs (run_of, id) where run_of is not null;

-- Rows that an instance has yet to plan: nearly always empty.
create index jobs_unplanned on tocsin.jobs (((tocsin.whole(jobs)).edited_at))
    where (tocsin.whole(jobs)).planned_at is null and (tocsin.whole(jobs)).plan_error is null;

-- What each instance holds: as many rows as there are executions under way.
create index jobs_leased on tocsin.jobs (((tocsin.whole(jobs)).locked_by)) where (tocsin.whole(jobs)).locked_until is not null;

-- The states that people look for, newest first in each: as tocsin.state has it, but for leases, kinds that no
-- instance has, and how runs stand. The same is in tocsin.is_aside and tocsin.aside_state. No healthy claim writes to
-- it, and no settlement but the one that ends a job.
create index jobs_aside on tocsin.jobs ((case
        when (tocsin.whole(jobs)).plan_error is not null then 'invalid'
        when (tocsin.whole(jobs)).paused_at is not null then 'paused'
        when (tocsin.whole(jobs)).pending_runs = 0 and (tocsin.whole(jobs)).next_run is null and (tocsin.whole(jobs)).planned_at is not null then
            case when (tocsin.whole(jobs)).last_outcome in ('failed', 'timed_out', 'cancelled', 'lost') then 'failed' else 'finished' end
        when (tocsin.whole(jobs)).attempt > 0 then 'retrying'
        else 'runs'
    end), id)
    where run_of is null and ((tocsin.whole(jobs)).plan_error is not null or (tocsin.whole(jobs)).paused_at is not null
        or (tocsin.whole(jobs)).pending_runs > 0
        or ((tocsin.whole(jobs)).next_run is null and (tocsin.whole(jobs)).planned_at is not null)
        or ((tocsin.whole(jobs)).attempt > 0 and (tocsin.whole(jobs)).locked_until is null));

-- Jobs that go on although their last runs failed, newest first; the condition is in tocsin.failing as well. Only a run
-- that fails, or succeeds after one that did, writes to it.
create index jobs_failing on tocsin.jobs (id)
    where (tocsin.whole(jobs)).consecutive_failures > 0 and (tocsin.whole(jobs)).next_run is not null and run_of is null;

-- Targets that an instance has yet to check: nearly always empty.
create index jobs_unchecked on tocsin.jobs (kind, ((tocsin.whole(jobs)).edited_at))
    where (tocsin.whole(jobs)).unchecked and (tocsin.whole(jobs)).next_run is not null
        and (tocsin.whole(jobs)).planned_at is not null and (tocsin.whole(jobs)).plan_error is null;

-- Jobs of other kinds than every instance has, some of which perhaps no instance has.
create index jobs_other_kinds on tocsin.jobs (kind, id) where kind not in ('http', 'amqp');

-- Jobs that ask for metrics of their own: see levels.asking_jobs.
create index jobs_metrics on tocsin.jobs (id) where run_of is null and metadata @> '{"metrics": true}';

-- Creations that are not in the audit log yet, in its order. Those of leased jobs are few, and found by jobs_leased: so
-- a claim writes no entry here.
create index jobs_creation on tocsin.jobs (((tocsin.whole(jobs)).creation))
    where (tocsin.whole(jobs)).creation is not null and (tocsin.whole(jobs)).locked_until is null;

create unique index jobs_name on tocsin.jobs (name) where name is not null;
create index jobs_tags on tocsin.jobs using gin (tags) where tags <> '{}';

-- What is paused: one job, all that have a tag, or (neither) everything. See db/triggers/8_pauses.sql.
create table tocsin.pauses (
    id uuid primary key default tocsin.uuid7(),
    job_id uuid,
    held_by uuid,  -- of a job: the pause of a tag that pauses it; null: it is paused by itself
    tag text collate "C",
    reason text,
    until timestamptz,
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null default tocsin.actor(),
    ends_at timestamptz,  -- until; later if it could not be ended then
    scope smallint generated always as (case when job_id is not null then 2 when tag is not null then 1 else 0 end) stored,

    constraint pauses_one_scope check (num_nonnulls(job_id, tag) <= 1 and (held_by is null or job_id is not null)),
    constraint pauses_tag_shape check (tag <> '' and tag !~ ',' and length(tag) <= 200),
    constraint pauses_within_range check (
        least(until, paused_at, ends_at) >= '2000-01-01 00:00Z' and greatest(until, paused_at, ends_at) <= '2200-01-02 00:00Z'
        and length(reason) <= 1000 and length(paused_by) <= 2000)
);
create unique index pauses_job on tocsin.pauses (job_id) where job_id is not null;
create unique index pauses_tag on tocsin.pauses (tag) where tag is not null;
create unique index pauses_all on tocsin.pauses ((true)) where job_id is null and tag is null;
create index pauses_held on tocsin.pauses (held_by) where held_by is not null;
-- Each look reads the first: whether everything or a tag is paused, and else which pause of a job ends first.
create index pauses_order on tocsin.pauses (scope, ends_at);
create index pauses_ends on tocsin.pauses (ends_at) where ends_at is not null;
grant select on tocsin.pauses to public;  -- each look reads it

-- The address and the latest pings of each job of the kind check that has an address. See db/triggers/8_checks.sql.
create table tocsin.checks (
    job_id uuid primary key,
    token_digest bytea,          -- SHA-256 of the token in the address; null: it was revoked
    token_made_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,      -- the latest ping that said a run begins
    ended_at timestamptz,        -- the latest ping that said a run has ended, well or not
    log text,                    -- what pings said since started_at
    minute_at timestamptz,       -- begins the minute in which pings are counted
    pings integer not null default 0,

    constraint checks_within_range check (
        least(token_made_at, started_at, ended_at, minute_at) >= '2000-01-01 00:00Z'
        and greatest(token_made_at, started_at, ended_at, minute_at) <= '2200-01-01 00:00Z'
        and octet_length(token_digest) = 32 and length(log) <= 20000)
) with (fillfactor = 50);
create unique index checks_token on tocsin.checks (token_digest) where token_digest is not null;

-- Until when an instance polls, which lets writers notify nobody: see tocsin.wake.
-- Unlogged: after a crash it is empty, so all instances are notified.
create unlogged table tocsin.polling (
    one boolean primary key default true check (one),
    polling_until timestamptz not null,

    -- Every look counts the seconds to it: what is no instant in between would fail them all.
    constraint polling_within_range check (polling_until between '2000-01-01 00:00Z' and '2200-01-01 00:00Z')
);

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
    ),
    -- The instants that Python can hold, and that can be counted with. No more than that: its text is
    -- read anew for every settlement. The lists cut off what is long.
    constraint executions_within_range check (
        least(scheduled_for, started_at, finished_at, missed_until) >= '2000-01-01 00:00Z'
        and greatest(scheduled_for, started_at, finished_at, missed_until) <= '2200-01-01 00:00Z'
    )
) partition by range (finished_at);
alter sequence tocsin.executions_id_seq owned by tocsin.executions.id;

-- Newest first for one job, and the few that did not succeed for all of them, by outcome without a look at the row.
create index executions_job on tocsin.executions (job_id, id desc);
create index executions_troubled on tocsin.executions (id desc, outcome) where outcome <> 'succeeded';

-- Takes what no day's partition does, so that recording never fails; tocsin.add_partitions empties it.
create table tocsin.executions_default partition of tocsin.executions default;

-- How housekeeping stands: when each of its steps last came to its end, and what kept it from that
-- since. One row per step; see app/scheduler/upkeep.py.
create table tocsin.upkeep (
    step text primary key,
    done_at timestamptz,
    refused bigint not null default 0,  -- rows that refused to go, the last time
    failed_at timestamptz,
    error text,

    constraint upkeep_within_range check (
        least(done_at, failed_at) >= '2000-01-01 00:00Z' and greatest(done_at, failed_at) <= '2200-01-01 00:00Z'
        and refused >= 0 and octet_length(step) <= 200 and octet_length(error) <= 100000)
);

-- How far history may be pruned: what the clock showed at the last pass of housekeeping, and how much
-- of that is trusted. A clock that jumped ahead must not end what is kept; see upkeep.keep_from.
create table tocsin.trusted_clock (
    one boolean primary key default true check (one),
    trusted timestamptz not null,
    shown timestamptz not null,

    constraint trusted_clock_within_range check (
        least(trusted, shown) >= '2000-01-01 00:00Z' and greatest(trusted, shown) <= '2200-01-01 00:00Z')
);

-- The time zone rules that runs were planned by, to tell what a newer release of them moves. An
-- instance that has the newest walks over the jobs once, and again while others have older ones.
create table tocsin.zone_rules (
    version text collate "C" primary key,  -- of the IANA database, such as 2026f; empty: not known
    zones bytea not null,                  -- all of its files, packed
    walking_until timestamptz,             -- somebody is at it
    walked_at timestamptz,                 -- null: plans by older rules may be left

    constraint zone_rules_within_range check (
        least(walking_until, walked_at) >= '2000-01-01 00:00Z'
        and greatest(walking_until, walked_at) <= '2200-01-01 00:00Z'
        and octet_length(version) <= 100 and octet_length(zones) <= 16777216)
);

-- What each instance goes by and what it is, as it says hourly.
create table tocsin.instance_rules (
    name text primary key,
    version text collate "C" not null,
    source text not null,
    told_at timestamptz not null default clock_timestamp(),

    constraint instance_rules_within_range check (
        told_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and greatest(octet_length(name), octet_length(version), octet_length(source)) <= 1000),
    slots integer constraint instance_rules_slots check (slots > 0),
    product text constraint instance_rules_product check (octet_length(product) <= 100),
    kinds text[],  -- which kinds of jobs it runs; null: http and amqp
    constraint instance_rules_kinds_shape check (cardinality(kinds) <= 1000 and octet_length(array_to_string(kinds, '')) <= 100000)
);

-- How many jobs an instance leaves alone, as they can neither be claimed nor given a plan_error, one of
-- them and why; as it says each minute while there are any.
create table tocsin.resting_jobs (
    instance text primary key,
    jobs bigint not null,
    job_id uuid not null,
    problem text not null,
    told_at timestamptz not null default clock_timestamp(),

    constraint resting_jobs_within_range check (
        told_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' and jobs > 0
        and octet_length(instance) <= 1000 and octet_length(problem) <= 8000)
);

-- Which kinds of jobs some instance can run, as each says at its start and hourly. See tocsin.has_kind.
create table tocsin.kinds (
    kind text collate "C" primary key,
    told_at timestamptz not null default clock_timestamp(),
    shown jsonb not null default '{}',  -- what the audit log keeps of targets: see tocsin.audited_targets

    constraint kinds_kind_shape check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
    constraint kinds_within_range check (
        told_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and jsonb_typeof(shown) = 'object' and tocsin.fits(shown, 262144))
);
grant select on tocsin.kinds to public;  -- who may see how a job stands

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
    updated_at timestamptz not null default clock_timestamp(),

    constraint maintenance_one_time check (
        num_nonnulls(starts_at, ends_at) = case when calendar is null then 2 else 0 end and (calendar is not null or starts_at < ends_at)),
    constraint maintenance_tag_shape check (tag <> '' and tag !~ ',' and length(tag) <= 200),
    constraint maintenance_on_closed_known check (on_closed in ('skip', 'next_open')),
    constraint maintenance_within_range check (
        least(starts_at, created_at) >= '2000-01-01 00:00Z' and greatest(ends_at, created_at) <= '2200-01-01 00:00Z'
        and length(reason) <= 1000 and length(created_by) <= 2000),
    constraint maintenance_updated_within_range check (
        updated_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z')
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
        and greatest(paused_at, created_at, updated_at) <= '2200-01-01 00:00Z'),
    pause_reason text,
    paused_until timestamptz,  -- null: until somebody resumes it
    paused_by text,
    constraint flows_pause_within_range check (
        paused_until between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
        and length(pause_reason) <= 1000 and length(paused_by) <= 2000)
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
    max_jobs integer,  -- how many of the jobs that exist it may have made; null, as with all limits: no limit
    min_interval_seconds numeric,
    allowed_hosts text[],
    default_ends_in_seconds numeric,

    constraint api_keys_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint api_keys_prefix_shape check (prefix ~ '^[0-9a-f]{12}$'),
    constraint api_keys_hash_length check (length(hash) = 32),
    constraint api_keys_scopes_known check (
        scopes <> '{}' and scopes <@ array['read', 'write', 'admin'] and array_ndims(scopes) = 1
        and cardinality(scopes) <= 100),
    constraint api_keys_within_range check (
        least(created_at, expires_at, last_used_at, revoked_at) >= '2000-01-01 00:00Z'
        and greatest(created_at, expires_at, last_used_at, revoked_at) <= '2200-01-01 00:00Z'),
    constraint api_keys_limits_within_range check (
        max_jobs between 1 and 1000000
        and min_interval_seconds between 0.1 and 157680000 and scale(min_interval_seconds) <= 100
        and cardinality(allowed_hosts) between 1 and 100 and array_ndims(allowed_hosts) = 1
        and array_position(allowed_hosts, null) is null and length(array_to_string(allowed_hosts, ',')) <= 30000
        and default_ends_in_seconds between 1 and 3155760000 and scale(default_ends_in_seconds) <= 100),
    constraint api_keys_limits_are_kept check (  -- an admin makes keys without limits
        num_nonnulls(max_jobs, min_interval_seconds, allowed_hosts, default_ends_in_seconds) = 0
        or not 'admin' = any (scopes))
);
create unique index api_keys_prefix on tocsin.api_keys (prefix);
create unique index api_keys_name on tocsin.api_keys (name) where revoked_at is null;

-- The jobs that were made with keys that have max_jobs. Of a job that is gone the row may stay: when there seem to be
-- too many, those are removed first, so that no deletion of jobs has to look here.
create table tocsin.key_jobs (
    key_id uuid not null references tocsin.api_keys on delete cascade,
    job_id uuid not null,

    primary key (key_id, job_id)
);

-- Sessions of browsers, each made with a key. Of what the cookie holds only a digest is kept.
create table tocsin.sessions (
    digest bytea primary key,
    key_id uuid not null references tocsin.api_keys on delete cascade,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,

    constraint sessions_digest_length check (length(digest) = 32),
    constraint sessions_within_range check (
        least(created_at, expires_at) >= '2000-01-01 00:00Z'
        and greatest(created_at, expires_at) <= '2200-01-01 00:00Z')
);
create index sessions_key on tocsin.sessions (key_id);

-- Who changed what, written by triggers only; secrets in targets are left out. See db/triggers.sql.
-- Creations of jobs come here at the first change: until then they are in tocsin.jobs.
create table tocsin.audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    actor text not null default tocsin.actor(),
    db_user text not null default session_user,  -- who logged in, whatever the setting says
    program text default nullif(current_setting('application_name', true), ''),
    action text not null,
    entity text not null,
    entity_id uuid not null,
    entity_name text,
    changed text[],
    before jsonb,
    after jsonb
);
revoke all on tocsin.audit_log from public;
grant usage on sequence tocsin.audit_log_id_seq to public;  -- who creates a job draws its number
create index audit_log_entity on tocsin.audit_log (entity_id, id desc);
create index audit_log_at on tocsin.audit_log using brin (at);  -- for pruning: costs writers nothing

-- What the audit log takes: the actions and entities that there are, and how large an entry may be. A function of its own, in
-- plpgsql and named by few words: the text of constraints is read and planned anew for every INSERT, of which an edit
-- of many jobs has one for each; written out it took as long as the rest of an entry.
create function tocsin.is_loggable(entry tocsin.audit_log)
returns boolean language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return entry.action in ('create', 'update', 'delete', 'test')
        and entry.entity in ('job', 'key', 'secret', 'flow', 'bulk', 'pause', 'alert_rule', 'alert_channel', 'calendar', 'maintenance')
        and entry.at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' and entry.id between 0 and 4611686018427387903
        and greatest(octet_length(entry.actor), octet_length(entry.program), octet_length(entry.entity_name)) <= 10000
        and cardinality(entry.changed) <= 1000 and octet_length(array_to_string(entry.changed, '')) <= 1048576
        and tocsin.fits_at_once(entry.before, 1048576) and tocsin.fits_at_once(entry.after, 1048576);
end $$;
alter table tocsin.audit_log add constraint audit_log_loggable check (tocsin.is_loggable(audit_log));

-- Named secrets, which targets refer to as ${secret:NAME}. A value comes here encrypted with a key of
-- TOCSIN_SECRET_KEYS, so not from psql: echo -n value | tocsin secrets set NAME
create table tocsin.secrets (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C" not null,
    value text not null,
    hosts text[] not null default '{}',  -- where it may be sent, such as *.example.com; none: anywhere
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),  -- when the value was set

    constraint secrets_name_shape check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$'),
    constraint secrets_hosts_range check (
        hosts = '{}' or (array_ndims(hosts) = 1 and cardinality(hosts) <= 100 and array_position(hosts, null) is null
            and octet_length(array_to_string(hosts, '')) <= 100000)),
    constraint secrets_value_encrypted check (value ~ '^encrypted[.]v[0-9]+[.]' and octet_length(value) <= 1048576),
    constraint secrets_within_range check (
        least(created_at, updated_at) >= '2000-01-01 00:00Z' and greatest(created_at, updated_at) <= '2200-01-01 00:00Z')
);
create unique index secrets_name on tocsin.secrets (name);

-- An action on the jobs, or the executions, that a filter finds. A person writes action, filter and options; instances
-- keep the rest. One of them at a time works on it, under a lease, in steps, each a transaction that moves `reached`
-- along: so each job is touched at most once, whoever dies or comes back. See db/triggers/7_bulk.sql.
create table tocsin.bulk_actions (
    id uuid primary key default tocsin.uuid7(),
    action text not null,
    filter jsonb not null,
    options jsonb not null default '{}',
    expected bigint,  -- how many were found when it was asked for; null: nobody counted
    asked_at timestamptz not null default clock_timestamp(),  -- what is created later is left alone
    asked_by text not null default tocsin.actor(),

    started_at timestamptz,
    ended_at timestamptz,
    cancelled_at timestamptz,
    error text,  -- why it ended before its end
    reached text,  -- the last job or execution that is done
    matched bigint not null default 0,
    changed bigint not null default 0,
    unchanged bigint not null default 0,
    failed bigint not null default 0,
    problems jsonb not null default '[]',  -- of the first that failed: their ids and why
    locked_until timestamptz,
    locked_by text,
    limits jsonb,  -- of the API key that asked

    constraint bulk_actions_action_known check (
        action in ('edit', 'delete', 'pause', 'resume', 'run', 'skip', 'unskip', 'reschedule', 'cancel', 'replay', 'redrive', 'backfill')),
    constraint bulk_actions_within_range check (
        least(asked_at, started_at, ended_at, cancelled_at, locked_until) >= '2000-01-01 00:00Z'
        and greatest(asked_at, started_at, ended_at, cancelled_at, locked_until) <= '2200-01-01 00:00Z'
        and least(expected, matched, changed, unchanged, failed) >= 0
        and jsonb_typeof(filter) = 'object' and tocsin.fits(filter, 65536)
        and jsonb_typeof(options) = 'object' and tocsin.fits(options, 1048576)
        and jsonb_typeof(problems) = 'array' and tocsin.fits(problems, 65536)
        and greatest(octet_length(asked_by), octet_length(reached), octet_length(locked_by)) <= 10000
        and octet_length(error) <= 100000),
    constraint bulk_actions_limits_within_range check (jsonb_typeof(limits) = 'object' and tocsin.fits(limits, 65536))
);
create index bulk_actions_unfinished on tocsin.bulk_actions (id) where ended_at is null;

-- Where alerts go to: each message is a job of the preset's kind, whose target is this one with the message in the
-- form that the preset has.
create table tocsin.alert_channels (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C" not null,
    preset text not null default 'webhook',
    target jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    fallback text,  -- the channel that is told what this one could not deliver

    constraint alert_channels_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint alert_channels_within_range check (
        least(created_at, updated_at) >= '2000-01-01 00:00Z' and greatest(created_at, updated_at) <= '2200-01-01 00:00Z'),
    constraint alert_channels_preset_known check (preset in (
        'webhook', 'slack', 'teams', 'discord', 'pagerduty', 'opsgenie', 'alertmanager', 'amqp', 'smtp', 'template')),
    constraint alert_channels_target_shape check (
        jsonb_typeof(target) = 'object' and tocsin.fits(target, 131072) and not target ?| case preset
            when 'template' then '{}'
            when 'smtp' then array['subject', 'text', 'html', 'templates']
            else array['body', 'json', 'body_base64', 'templates'] end),
    constraint alert_channels_fallback_other check (fallback <> name)
);
create unique index alert_channels_name on tocsin.alert_channels (name);

-- What is told, of which jobs (of one, of those with a tag or, with neither, of all), and by which channels.
create table tocsin.alert_rules (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C" not null,
    events text[] not null,
    job_id uuid,
    tag text collate "C",
    after integer not null default 1,  -- how many in a row
    seconds numeric,                   -- how late, or for how long without a success
    reasons text[],                    -- of missed runs; null: all but paused, skipped, calendar and maintenance
    channels text[] not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    begun_at timestamptz not null default clock_timestamp(),  -- what ended earlier is not told of
    factor numeric,          -- of slow: how many times as long as usual
    more_than integer,       -- of backlog: how many jobs
    remind_seconds numeric,  -- how long after it was told a job is told of again, while it is not over

    constraint alert_rules_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint alert_rules_tag_shape check (tag <> '' and tag !~ ',' and length(tag) <= 200 and (tag is null or job_id is null)),
    constraint alert_rules_after_range check (after between 1 and 1000),
    constraint alert_rules_reasons_shape check (
        reasons <> '{}' and array_ndims(reasons) = 1 and cardinality(reasons) <= 20 and array_position(reasons, null) is null
        and octet_length(array_to_string(reasons, '')) <= 2000),
    constraint alert_rules_channels_shape check (
        channels = '{}' or (array_ndims(channels) = 1 and cardinality(channels) <= 20 and array_position(channels, null) is null
            and octet_length(array_to_string(channels, '')) <= 20000)),
    constraint alert_rules_within_range check (
        least(created_at, updated_at, begun_at) >= '2000-01-01 00:00Z'
        and greatest(created_at, updated_at, begun_at) <= '2200-01-01 00:00Z'),
    constraint alert_rules_events_known check (
        events <> '{}' and array_ndims(events) = 1 and cardinality(events) <= 20 and array_position(events, null) is null
        and events <@ array['failed', 'exhausted', 'missed', 'invalid', 'late', 'not_succeeded', 'slow', 'backlog',
            'no_instance', 'recovered']),
    constraint alert_rules_events_scope check (
        (not 'not_succeeded' = any (events) or num_nonnulls(job_id, tag) = 1)
        and (not 'no_instance' = any (events) or num_nonnulls(job_id, tag) = 0)),
    constraint alert_rules_seconds_range check (
        case when events && array['late', 'not_succeeded'] then seconds is not null
            else seconds is null or events && array['slow', 'backlog', 'no_instance'] end
        and seconds between 1 and 31557600 and scale(seconds) <= 100),
    constraint alert_rules_factor_range check (
        (factor is null or 'slow' = any (events)) and (not 'slow' = any (events) or num_nonnulls(seconds, factor) > 0)
        and factor between 1 and 1000 and scale(factor) <= 100),
    constraint alert_rules_more_than_range check (
        (more_than is null or 'backlog' = any (events))
        and (not 'backlog' = any (events) or num_nonnulls(seconds, more_than) > 0) and more_than between 0 and 100000),
    constraint alert_rules_remind_seconds_range check (remind_seconds between 60 and 31557600 and scale(remind_seconds) <= 100)
);
create unique index alert_rules_name on tocsin.alert_rules (name);

-- How a rule stands for one job: how many of an event came in a row, and whether that was told. No row: all is well.
create table tocsin.alert_states (
    rule_id uuid not null references tocsin.alert_rules on delete cascade,
    event text not null,
    job_id uuid not null,         -- all zeros: of no single job
    many integer not null,
    execution_id bigint,          -- the latest
    since timestamptz not null,   -- the end of the first
    last_at timestamptz not null, -- and of the latest
    told_at timestamptz,
    reminded_at timestamptz,
    counted bigint[],             -- of slow: the executions that are counted, the last hundred
    counted_from bigint,          -- of slow: none up to this one is counted any more

    primary key (rule_id, event, job_id),
    constraint alert_states_within_range check (
        least(since, last_at, told_at) >= '2000-01-01 00:00Z' and greatest(since, last_at, told_at) <= '2200-01-01 00:00Z'
        and many > 0 and octet_length(event) <= 100),
    constraint alert_states_reminded_within_range check (
        reminded_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z')
);
create index alert_states_job on tocsin.alert_states (job_id);
create index alert_states_told on tocsin.alert_states (told_at desc, job_id) where told_at is not null;

-- What was told of one job by one channel, or is about to be. delivery_id: the job that tells it.
create table tocsin.alerts (
    id uuid primary key default tocsin.uuid7(),
    at timestamptz not null default clock_timestamp(),
    rule_id uuid,
    rule text,     -- its name; null: a test of a channel
    event text not null,
    job_id uuid,
    job text,      -- its name then
    many integer,  -- how many in a row
    since timestamptz,
    execution_id bigint,
    why text,
    channel text,  -- null: on record only
    delivery_id uuid,
    sent_at timestamptz,
    delivered_at timestamptz,
    failed_at timestamptz,
    error text,
    of_event text,     -- of recovered: what is over; else the event
    is_reminder boolean not null default false,
    instead_of uuid,   -- the alert that another channel could not deliver
    incident uuid,     -- what an incident that this opened is known by where it was opened

    constraint alerts_within_range check (
        least(at, since, sent_at, delivered_at, failed_at) >= '2000-01-01 00:00Z'
        and greatest(at, since, sent_at, delivered_at, failed_at) <= '2200-01-01 00:00Z'
        and greatest(octet_length(rule), octet_length(event), octet_length(job), octet_length(channel)) <= 10000
        and greatest(octet_length(why), octet_length(error)) <= 100000)
);
create index alerts_job on tocsin.alerts (job_id, id desc);
create index alerts_at on tocsin.alerts (at, id);
create index alerts_rule on tocsin.alerts (rule, id desc);
create index alerts_delivery on tocsin.alerts (delivery_id) where delivery_id is not null;
create index alerts_open on tocsin.alerts (id) where channel is not null and delivered_at is null and failed_at is null;
create index alerts_sent on tocsin.alerts (sent_at) where sent_at is not null;
create index alerts_failed on tocsin.alerts (channel, failed_at) where failed_at is not null;
create index alerts_incident on tocsin.alerts (incident) where incident is not null;

-- How far the executions are judged by the rules; one instance at a time has it locked. All up to after_id are, but
-- for those under way then (pending). What was drawn up to mark_id is over once all transactions before mark_xid are.
create table tocsin.alert_cursor (
    one boolean primary key default true check (one),
    after_id bigint not null,
    pending bigint[] not null default '{}',
    mark_id bigint,
    mark_xid bigint,
    marked_at timestamptz,

    constraint alert_cursor_within_range check (
        marked_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' and cardinality(pending) <= 10000000)
);

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

-- The answers to requests that came with an Idempotency-Key, kept for a day. A row is written in the transaction of
-- what its request changed. Of the client and its key, and of what was asked, only digests are kept.
create table tocsin.idempotency_keys (
    id bytea primary key,
    request bytea not null,
    owner text not null,  -- whose limits it counts in: the prefix of an API key, or loopback
    at timestamptz not null default clock_timestamp(),
    status integer not null default 0,
    headers jsonb not null default '{}',
    answer bytea not null default '',  -- compressed, and encrypted where it has a secret
    bytes integer not null default 0,

    constraint idempotency_keys_within_range check (
        at >= '2000-01-01 00:00Z' and at <= '2200-01-01 00:00Z'
        and octet_length(id) = 32 and octet_length(request) = 32 and octet_length(owner) <= 100
        and tocsin.fits(headers, 16384) and octet_length(answer) <= 8388608)
);
create index idempotency_keys_owner on tocsin.idempotency_keys (owner, at) include (bytes);
create index idempotency_keys_at on tocsin.idempotency_keys (at);
