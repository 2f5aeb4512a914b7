-- Rows as a database of schema version 1 has them after days of use: psql -v url=http://127.0.0.1:PORT/work
-- What is at rest has to be the same after an upgrade; what moves is due, or soon.

set search_path = pg_catalog, pg_temp;

create function pg_temp.job(name text, url text, run_at timestamptz default '2100-01-01 00:00Z') returns uuid
language sql as $$
    insert into tocsin.jobs (name, kind, target, run_at, backoff_seconds, max_attempts)
    values (job.name, 'http', jsonb_build_object('url', job.url), job.run_at, 0.2, 20) returning id
$$;

-- The history of four days, in a partition for each.
select tocsin.add_partition((now() at time zone 'UTC')::date - days_ago) from generate_series(1, 3) as days_ago;
insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at,
    instance, status_code, response, error)
select pg_temp.job(format('at-rest-%s-%s', outcome, days_ago), :'url'), 1, 'http', at, 1, outcome, reason, at, at,
    'gone:1:0001', status_code, 'an answer', error
from (values ('succeeded', null, 200, null), ('failed', 'status', 500, 'it said 500'),
        ('timed_out', null, null, 'no answer')) as ended (outcome, reason, status_code, error),
    (select days_ago, now() - days_ago * interval '1 day' as at from generate_series(0, 3) as days_ago) as days;
insert into tocsin.executions (job_id, kind, scheduled_for, outcome, finished_at, missed_runs, missed_until)
select id, 'http', now() - interval '1 day', 'missed', now() - interval '1 day', 2, now() - interval '23 hours'
from tocsin.jobs where name = 'at-rest-succeeded-1';
update tocsin.jobs
set next_run = null, run_at = '2025-01-01 00:00Z', scheduled_for = '2025-01-01 00:00Z', planned_at = now(), attempt = 1,
    fence = 1, runs = 1, last_outcome = split_part(name, '-', 3), last_finished_at = now() - interval '1 day'
where name like 'at-rest-%';

-- Jobs at rest: planned, paused, invalid.
insert into tocsin.jobs (name, description, tags, metadata, kind, target, run_at, ends_at, max_runs, paused_at)
values
    ('at-rest-planned', 'With all that people write.', '{billing,nightly}', '{"team": "billing"}', 'amqp',
        '{"url": "amqp://broker/", "exchange": "jobs", "routing_key": "due"}', '2100-01-01 00:00Z', null, 1, null),
    ('at-rest-paused', null, '{}', '{}', 'http', '{"url": "http://127.0.0.1:9/"}', now() + interval '1 s', null, null, now()),
    ('at-rest-of-no-kind', null, '{}', '{}', 'pigeon', '{"loft": "roof"}', '2100-01-01 00:00Z', null, null, null);
update tocsin.jobs set unchecked = false where name like 'at-rest-%';
insert into tocsin.jobs (name, kind, target, cron, plan_error, planned_at, paused_at)
values ('at-rest-invalid', 'http', '{"url": "http://127.0.0.1:9/"}', '0 0 30 2 *', 'never occurs', now(), now());

-- Recurring jobs, as SQL leaves them to an instance, and a target that nobody has checked yet.
insert into tocsin.jobs (name, kind, target, cron, timezone, every_seconds)
values ('moves-unplanned-cron', 'http', jsonb_build_object('url', :'url'), '0 3 * * *', 'Europe/Paris', null),
    ('moves-unplanned-interval', 'http', jsonb_build_object('url', :'url'), null, 'UTC', 86400);
select pg_temp.job('moves-unchecked', :'url');

-- Under a lease: one whose holder died, and one whose holder has a few seconds yet.
select pg_temp.job('moves-expired-lease', :'url', now() - interval '1 minute');
select pg_temp.job('moves-leased', :'url', now() - interval '1 minute');
update tocsin.jobs
set locked_by = 'gone:1:0001', fence = 1, attempt = 1, claimed_at = now() - interval '1 minute', claimed_for = scheduled_for,
    claimed_attempt = 1, execution_id = nextval('tocsin.executions_id_seq'),
    locked_until = now() + case name when 'moves-leased' then interval '5 seconds' else -interval '1 second' end
where name in ('moves-expired-lease', 'moves-leased');

-- Waiting for a retry, for an extra run, and for a replay behind it.
select pg_temp.job('moves-retrying', :'url', now() - interval '1 minute');
update tocsin.jobs set next_run = now() + interval '5 seconds' where name = 'moves-retrying';
update tocsin.jobs
set attempt = 1, fence = 1, last_outcome = 'failed', last_finished_at = now(), consecutive_failures = 1
where name = 'moves-retrying';
select pg_temp.job('moves-pending-runs', :'url');
select id from tocsin.run_now((select id from tocsin.jobs where name = 'moves-pending-runs'));
select id from tocsin.run_now((select id from tocsin.jobs where name = 'moves-pending-runs'), '2026-01-01 00:00Z');

-- Who may use the API, or might; and a named secret, encrypted with a key that is gone.
insert into tocsin.api_keys (name, prefix, hash, scopes, expires_at, revoked_at)
values ('reader', '0123456789ab', sha256('a'), '{read}', now() + interval '1 year', null),
    ('revoked', '0123456789ac', sha256('b'), '{read,write}', null, now());
insert into tocsin.secrets (name, value, hosts) values ('lost', 'encrypted.v2.00000000.x', '{*.example.com}');

-- What the audit log has of somebody who changed their mind.
update tocsin.jobs set description = 'edited' where name = 'at-rest-planned';
select pg_temp.job('deleted', :'url');
delete from tocsin.jobs where name = 'deleted';
