-- Alerts: rules, channels, and what was told: see db/triggers/8_alerts.sql.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (13);

-- Where alerts go to: each message is a job of the kind http whose target is this one with a body in the form that
-- the preset has.
create table tocsin.alert_channels (
    id uuid primary key default tocsin.uuid7(),
    name text collate "C" not null,
    preset text not null default 'webhook',
    target jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),

    constraint alert_channels_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint alert_channels_preset_known check (preset in ('webhook', 'slack', 'teams', 'discord')),
    constraint alert_channels_target_shape check (
        jsonb_typeof(target) = 'object' and tocsin.fits(target, 131072) and not target ?| array['body', 'json', 'body_base64']),
    constraint alert_channels_within_range check (
        least(created_at, updated_at) >= '2000-01-01 00:00Z' and greatest(created_at, updated_at) <= '2200-01-01 00:00Z')
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
    reasons text[],                    -- of missed runs; null: all but paused and skipped
    channels text[] not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    begun_at timestamptz not null default clock_timestamp(),  -- what ended earlier is not told of

    constraint alert_rules_name_shape check (name ~ '^[^/\u0001-\u001f\u007f-\u009f]{1,200}$'),
    constraint alert_rules_events_known check (
        events <> '{}' and array_ndims(events) = 1 and cardinality(events) <= 20 and array_position(events, null) is null
        and events <@ array['failed', 'exhausted', 'missed', 'invalid', 'late', 'not_succeeded', 'recovered']),
    constraint alert_rules_events_scope check (not 'not_succeeded' = any (events) or num_nonnulls(job_id, tag) = 1),
    constraint alert_rules_seconds_range check (
        (seconds is not null) = (events && array['late', 'not_succeeded'])
        and seconds between 1 and 31557600 and scale(seconds) <= 100),
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
        and greatest(created_at, updated_at, begun_at) <= '2200-01-01 00:00Z')
);
create unique index alert_rules_name on tocsin.alert_rules (name);

-- How a rule stands for one job: how many of an event came in a row, and whether that was told. No row: all is well.
create table tocsin.alert_states (
    rule_id uuid not null references tocsin.alert_rules on delete cascade,
    event text not null,
    job_id uuid not null,
    many integer not null,
    execution_id bigint,          -- the latest
    since timestamptz not null,   -- the end of the first
    last_at timestamptz not null, -- and of the latest
    told_at timestamptz,

    primary key (rule_id, event, job_id),
    constraint alert_states_within_range check (
        least(since, last_at, told_at) >= '2000-01-01 00:00Z' and greatest(since, last_at, told_at) <= '2200-01-01 00:00Z'
        and many > 0 and octet_length(event) <= 100)
);
create index alert_states_job on tocsin.alert_states (job_id);

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

    constraint alerts_within_range check (
        least(at, since, sent_at, delivered_at, failed_at) >= '2000-01-01 00:00Z'
        and greatest(at, since, sent_at, delivered_at, failed_at) <= '2200-01-01 00:00Z'
        and greatest(octet_length(rule), octet_length(event), octet_length(job), octet_length(channel)) <= 10000
        and greatest(octet_length(why), octet_length(error)) <= 100000)
);
create index alerts_job on tocsin.alerts (job_id, id desc);
create index alerts_rule on tocsin.alerts (rule, id desc);
create index alerts_delivery on tocsin.alerts (delivery_id) where delivery_id is not null;
create index alerts_open on tocsin.alerts (id) where channel is not null and delivered_at is null and failed_at is null;
create index alerts_sent on tocsin.alerts (sent_at) where sent_at is not null;

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

alter table tocsin.audit_log drop constraint audit_log_entity_known;
alter table tocsin.audit_log add constraint audit_log_entity_known
    check (entity in ('job', 'key', 'secret', 'flow', 'bulk', 'pause', 'alert_rule', 'alert_channel')) not valid;

commit;
