-- db/triggers/8_helpers.sql: shorthands for psql.

-- Shorthands for psql; the body is sent as JSON. A name that exists is updated; without a schedule the job is due at once.
create or replace function tocsin.put_job(
    name text, kind text, target jsonb, run_at timestamptz, cron text, timezone text, every_seconds numeric
) returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    insert into tocsin.jobs as j (name, kind, target, run_at, cron, timezone, every_seconds)
    values (
        put_job.name, put_job.kind, put_job.target,
        case when num_nonnulls(put_job.run_at, put_job.cron, put_job.every_seconds) = 0
            then clock_timestamp() else put_job.run_at end,
        put_job.cron, put_job.timezone, put_job.every_seconds)
    on conflict (name) where name is not null do update
    set kind = excluded.kind, target = excluded.target, run_at = excluded.run_at,
        cron = excluded.cron, timezone = excluded.timezone, every_seconds = excluded.every_seconds
    returning j.id
$$;

create or replace function tocsin.http_job(
    name text, url text, method text default 'POST', body jsonb default null,
    headers jsonb default null, run_at timestamptz default null, cron text default null,
    timezone text default 'UTC', every_seconds numeric default null
) returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    select tocsin.put_job(
        name, 'http',
        jsonb_strip_nulls(jsonb_build_object('url', url, 'method', method, 'headers', headers))
            || case when body is null then '{}' else jsonb_build_object('json', body) end,
        run_at, cron, timezone, every_seconds)
$$;

create or replace function tocsin.amqp_job(
    name text, url text, exchange text, routing_key text, body jsonb default null,
    headers jsonb default null, run_at timestamptz default null, cron text default null,
    timezone text default 'UTC', every_seconds numeric default null
) returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    select tocsin.put_job(
        name, 'amqp',
        jsonb_strip_nulls(jsonb_build_object(
            'url', url, 'exchange', exchange, 'routing_key', routing_key, 'headers', headers))
            || case when body is null then '{}' else jsonb_build_object('json', body) end,
        run_at, cron, timezone, every_seconds)
$$;
