-- More that alert rules tell of, reminders, more presets, and channels for what others could not deliver: see
-- db/triggers/8_alerts.sql. Rules and channels are few, so their constraints are judged at once.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (27);

alter table tocsin.alert_channels
    add column fallback text,  -- the channel that is told what this one could not deliver
    drop constraint alert_channels_preset_known,
    drop constraint alert_channels_target_shape;
alter table tocsin.alert_channels
    add constraint alert_channels_preset_known check (preset in (
        'webhook', 'slack', 'teams', 'discord', 'pagerduty', 'opsgenie', 'alertmanager', 'amqp', 'smtp', 'template')),
    add constraint alert_channels_target_shape check (
        jsonb_typeof(target) = 'object' and tocsin.fits(target, 131072) and not target ?| case preset
            when 'template' then '{}'
            when 'smtp' then array['subject', 'text', 'html', 'templates']
            else array['body', 'json', 'body_base64', 'templates'] end),
    add constraint alert_channels_fallback_other check (fallback <> name);

alter table tocsin.alert_rules
    add column factor numeric,          -- of slow: how many times as long as usual
    add column more_than integer,       -- of backlog: how many jobs
    add column remind_seconds numeric,  -- how long after it was told a job is told of again, while it is not over
    drop constraint alert_rules_events_known,
    drop constraint alert_rules_events_scope,
    drop constraint alert_rules_seconds_range;
alter table tocsin.alert_rules
    add constraint alert_rules_events_known check (
        events <> '{}' and array_ndims(events) = 1 and cardinality(events) <= 20 and array_position(events, null) is null
        and events <@ array['failed', 'exhausted', 'missed', 'invalid', 'late', 'not_succeeded', 'slow', 'backlog',
            'no_instance', 'recovered']),
    add constraint alert_rules_events_scope check (
        (not 'not_succeeded' = any (events) or num_nonnulls(job_id, tag) = 1)
        and (not 'no_instance' = any (events) or num_nonnulls(job_id, tag) = 0)),
    add constraint alert_rules_seconds_range check (
        case when events && array['late', 'not_succeeded'] then seconds is not null
            else seconds is null or events && array['slow', 'backlog', 'no_instance'] end
        and seconds between 1 and 31557600 and scale(seconds) <= 100),
    add constraint alert_rules_factor_range check (
        (factor is null or 'slow' = any (events)) and (not 'slow' = any (events) or num_nonnulls(seconds, factor) > 0)
        and factor between 1 and 1000 and scale(factor) <= 100),
    add constraint alert_rules_more_than_range check (
        (more_than is null or 'backlog' = any (events))
        and (not 'backlog' = any (events) or num_nonnulls(seconds, more_than) > 0) and more_than between 0 and 100000),
    add constraint alert_rules_remind_seconds_range check (remind_seconds between 60 and 31557600 and scale(remind_seconds) <= 100);

alter table tocsin.alert_states
    add column reminded_at timestamptz,
    add constraint alert_states_reminded_within_range check (
        reminded_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z') not valid;

alter table tocsin.alerts
    add column of_event text,     -- of recovered: what is over; else the event
    add column is_reminder boolean not null default false,
    add column instead_of uuid,   -- the alert that another channel could not deliver
    add column incident uuid;     -- what an incident that this opened is known by where it was opened

alter table tocsin.instance_rules
    add column kinds text[],  -- which kinds of jobs it runs; null: http and amqp
    add constraint instance_rules_kinds_shape check (
        cardinality(kinds) <= 1000 and octet_length(array_to_string(kinds, '')) <= 100000);

commit;
