begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (7);

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

    constraint bulk_actions_action_known check (
        action in ('edit', 'delete', 'pause', 'resume', 'run', 'reschedule', 'cancel', 'replay', 'redrive', 'backfill')),
    constraint bulk_actions_within_range check (
        least(asked_at, started_at, ended_at, cancelled_at, locked_until) >= '2000-01-01 00:00Z'
        and greatest(asked_at, started_at, ended_at, cancelled_at, locked_until) <= '2200-01-01 00:00Z'
        and least(expected, matched, changed, unchanged, failed) >= 0
        and jsonb_typeof(filter) = 'object' and tocsin.fits(filter, 65536)
        and jsonb_typeof(options) = 'object' and tocsin.fits(options, 1048576)
        and jsonb_typeof(problems) = 'array' and tocsin.fits(problems, 65536)
        and greatest(octet_length(asked_by), octet_length(reached), octet_length(locked_by)) <= 10000
        and octet_length(error) <= 100000)
);
create index bulk_actions_unfinished on tocsin.bulk_actions (id) where ended_at is null;

-- Its one entry in the audit log. What is there already meets the constraint, which the next script validates.
alter table tocsin.audit_log drop constraint audit_log_entity_known,
    add constraint audit_log_entity_known check (entity in ('job', 'key', 'secret', 'flow', 'bulk')) not valid;

commit;
