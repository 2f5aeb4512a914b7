-- Rows as a database of schema version 34 has them: those of version 1, and what has come since.

\ir rows_0001.sql

-- Calendars that are worked out, and windows by a span and by one of them.
insert into tocsin.calendars (name, weekly, timezone) values ('hours', '{MON-FRI 09:00-17:00}', 'Europe/Paris');
insert into tocsin.calendars (name, dates, holidays, rrules) values ('days', '{2030-12-24/2031-01-02}', '{DE-BY}', '{FREQ=MONTHLY;BYDAY=-1FR}');
set session_replication_role = replica;
update tocsin.calendars set worked_out_at = now(), times = case name when 'hours' then '{[2030-01-01 00:00Z,2031-01-01 00:00Z)}'
    else '{[2030-12-24 00:00Z,2031-01-03 00:00Z)}' end::tstzmultirange;
set session_replication_role = origin;
insert into tocsin.maintenance (tag, starts_at, ends_at, on_closed, reason)
values ('at-rest', '2098-01-01 00:00Z', '2099-01-01 00:00Z', 'next_open', 'a move');
insert into tocsin.maintenance (tag, calendar) values ('at-rest', 'days');

-- Limits of flows, a pause of a tag, and bulk actions that have ended.
insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds, burst, paused_at)
values ('api', 2, 10, 60, 3, null), ('tenant-*', 5, null, 1, null, now());
insert into tocsin.flow_states (flow_key, held_until, held_for) values ('api', '2099-01-01 00:00Z', 'the target answered 429');
select tocsin.pause_tag('nobody-has-it', 'broken', '2099-01-01 00:00Z');
select tocsin.bulk('edit', '{"tag": "at-rest"}', '{"patch": {"timeout_seconds": 60}}');
select tocsin.cancel_bulk(id) from tocsin.bulk_actions;

-- Jobs at rest that use all of it.
insert into tocsin.jobs (name, kind, target, cron, tags, starts_at, overlap, jitter_percent, priority, flow_key, calendars,
    on_closed, min_gap_seconds, skip_runs, next_run, scheduled_for, planned_at)
select 'at-rest-' || overlap, 'http', jsonb_build_object('url', :'url'), '0 3 * * *', '{at-rest}', '2099-01-01 00:00Z',
    overlap, 10, 3, 'api', '{hours,!days}', 'next_open', 90.5, 2, '2099-01-01 03:30Z', '2099-01-01 03:00Z', now()
from unnest('{skip,buffer_one,cancel_other,allow_all}'::text[]) as overlap;
update tocsin.jobs set unchecked = false where name like 'at-rest-%';
select id from tocsin.pause('at-rest-skip', 'the receiver is moved', '2099-01-01 00:00Z');
