-- db/triggers/8_helpers.sql: jobs by name, for psql and for programs in their own transactions.

-- Those of 0.1.0, with fewer options: a call could mean either.
do $$ declare
    older text;
begin
    foreach older in array array[
        'tocsin.http_job(text, text, text, jsonb, jsonb, timestamptz, text, text, numeric)',
        'tocsin.amqp_job(text, text, text, text, jsonb, jsonb, timestamptz, text, text, numeric)',
        'tocsin.put_job(text, text, jsonb, timestamptz, text, text, numeric)'] loop
        if to_regprocedure(older) is not null then
            execute 'drop function ' || older;
        end if;
    end loop;
end $$;

-- The columns of tocsin.jobs that people write: those whose edits are judged.
create or replace function tocsin.written_columns()
returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(a.attname::text order by a.attnum)
    from pg_trigger t join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = any (t.tgattr::smallint[])
    where t.tgrelid = 'tocsin.jobs'::regclass and t.tgname in ('jobs_200_sound', 'jobs_210_skip_sound')
      and a.attname not in ('id', 'created_at', 'updated_at', 'edited_at', 'resumed_at')
$$;

-- The options that are given, as a document without those that are null; nulls inside of them stay.
create or replace function tocsin.given(options jsonb)
returns jsonb language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(options) where value <> 'null'
$$;

-- Creates a job, or edits the one that has its name: select tocsin.put_job('{"name": "x", "kind": "http", …}').
-- The document has the columns of tocsin.jobs. Of a job that exists those that are left out stay as they are, its
-- schedule too; a new one without a schedule is due at once. Returns the job's id; null: a trigger of users
-- suppresses it.
create or replace function tocsin.put_job(job jsonb)
returns uuid language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    columns constant text[] := tocsin.written_columns();
    schedule constant text[] := '{run_at,cron,every_seconds}';
    name constant text := job ->> 'name';
    has_schedule constant boolean := tocsin.given(job) ?| schedule;
    given text[];
    wrong text;
    put uuid;
begin
    select min(key) into wrong from jsonb_object_keys(job) as key where key <> all (columns);
    if wrong is not null then
        perform tocsin.refuse(left(wrong, 100), 'is unknown', 'There are ' || array_to_string(columns, ', ') || '.');
    end if;
    given := array(
        select key from jsonb_object_keys(job) as key where key <> all (schedule || array['name'])
        union all select unnest(schedule) where has_schedule);
    if given = '{}' then  -- of one that exists all stays as it is
        select j.id into put from tocsin.jobs j where j.name = put_job.job ->> 'name' and j.run_of is null;
    end if;
    for try in 1..3 loop
        exit when put is not null;
        if name is not null and given <> '{}' then
            execute format(
                'update tocsin.jobs as j set (%1$s) = (select %1$s from jsonb_populate_record(null::tocsin.jobs, $1))
                 where j.name = $2 and j.run_of is null returning j.id',
                (select string_agg(quote_ident(one), ', ') from unnest(given) as one))
            into put using job, name;
        end if;
        if put is null then
            execute format(
                'insert into tocsin.jobs (%1$s) select %1$s from jsonb_populate_record(null::tocsin.jobs, $1)
                 on conflict (name) where name is not null do nothing returning id',
                (select string_agg(quote_ident(one), ', ')
                 from unnest(given || array['name'] || case when has_schedule then '{}' else array['run_at'] end) as one))
            into put using case when has_schedule then job else job || jsonb_build_object('run_at', clock_timestamp()) end;
        end if;
    end loop;
    return put;
end $$;

-- Creates the job of this name that calls a URL, or edits it, in the transaction of the caller; returns its id.
-- url, method, headers (an object) and body (any JSON, sent as such) are its target; `target` has what else a target has, such
-- as auth. When: one of run_at (once), cron with timezone (an IANA name, UTC by default) and every_seconds (from 0.1); a new
-- job without any is due at once. All options are columns of tocsin.jobs, which say what each means, with its range; those
-- that end in _seconds are seconds. What is null stays as it is or, of a new job, is the column's default. Takes effect with
-- COMMIT, which wakes the instances. A value out of range is refused (23514), with the column and a hint.
create or replace function tocsin.http_job(
    name text, url text, method text default 'POST', body jsonb default null, headers jsonb default null,
    run_at timestamptz default null, cron text default null, timezone text default null, every_seconds numeric default null,
    target jsonb default '{}', description text default null, tags text[] default null, metadata jsonb default null,
    dst_gap text default null, dst_overlap text default null, starts_at timestamptz default null,
    ends_at timestamptz default null, max_runs integer default null, max_attempts integer default null,
    backoff_seconds numeric default null, backoff_max_seconds numeric default null, timeout_seconds numeric default null,
    misfire text default null, misfire_grace_seconds numeric default null, max_catchup integer default null,
    overlap text default null, flow_key text default null, jitter_seconds numeric default null,
    jitter_percent numeric default null, priority integer default null, calendars text[] default null,
    on_closed text default null, min_gap_seconds numeric default null, paused_at timestamptz default null,
    skip_runs integer default null, skip_until timestamptz default null
) returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    select tocsin.put_job(tocsin.given(jsonb_build_object(
        'name', name, 'kind', 'http',
        'target', tocsin.given(jsonb_build_object('url', url, 'method', method, 'headers', headers, 'json', body)) || coalesce(target, '{}'),
        'run_at', run_at, 'cron', cron, 'timezone', timezone, 'every_seconds', every_seconds,
        'description', description, 'tags', tags, 'metadata', metadata, 'dst_gap', dst_gap, 'dst_overlap', dst_overlap,
        'starts_at', starts_at, 'ends_at', ends_at, 'max_runs', max_runs, 'max_attempts', max_attempts,
        'backoff_seconds', backoff_seconds, 'backoff_max_seconds', backoff_max_seconds,
        'timeout_seconds', timeout_seconds, 'misfire', misfire, 'misfire_grace_seconds', misfire_grace_seconds,
        'max_catchup', max_catchup, 'overlap', overlap, 'flow_key', flow_key, 'jitter_seconds', jitter_seconds,
        'jitter_percent', jitter_percent, 'priority', priority, 'calendars', calendars, 'on_closed', on_closed,
        'min_gap_seconds', min_gap_seconds, 'paused_at', paused_at, 'skip_runs', skip_runs, 'skip_until', skip_until)))
$$;

-- Creates the job of this name that publishes a message to RabbitMQ by AMQP, or edits it, in the transaction of the caller;
-- returns its id. url (amqp: or amqps:), exchange (empty: the default one), routing_key, headers (an object) and body (any
-- JSON, sent as such) are its target; `target` has what else a target has. All other options are as with tocsin.http_job. A
-- value out of range is refused (23514), with the column and a hint.
create or replace function tocsin.amqp_job(
    name text, url text, exchange text, routing_key text, body jsonb default null, headers jsonb default null,
    run_at timestamptz default null, cron text default null, timezone text default null, every_seconds numeric default null,
    target jsonb default '{}', description text default null, tags text[] default null, metadata jsonb default null,
    dst_gap text default null, dst_overlap text default null, starts_at timestamptz default null,
    ends_at timestamptz default null, max_runs integer default null, max_attempts integer default null,
    backoff_seconds numeric default null, backoff_max_seconds numeric default null, timeout_seconds numeric default null,
    misfire text default null, misfire_grace_seconds numeric default null, max_catchup integer default null,
    overlap text default null, flow_key text default null, jitter_seconds numeric default null,
    jitter_percent numeric default null, priority integer default null, calendars text[] default null,
    on_closed text default null, min_gap_seconds numeric default null, paused_at timestamptz default null,
    skip_runs integer default null, skip_until timestamptz default null
) returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    select tocsin.put_job(tocsin.given(jsonb_build_object(
        'name', name, 'kind', 'amqp',
        'target', tocsin.given(jsonb_build_object(
            'url', url, 'exchange', exchange, 'routing_key', routing_key, 'headers', headers, 'json', body)) || coalesce(target, '{}'),
        'run_at', run_at, 'cron', cron, 'timezone', timezone, 'every_seconds', every_seconds,
        'description', description, 'tags', tags, 'metadata', metadata, 'dst_gap', dst_gap, 'dst_overlap', dst_overlap,
        'starts_at', starts_at, 'ends_at', ends_at, 'max_runs', max_runs, 'max_attempts', max_attempts,
        'backoff_seconds', backoff_seconds, 'backoff_max_seconds', backoff_max_seconds,
        'timeout_seconds', timeout_seconds, 'misfire', misfire, 'misfire_grace_seconds', misfire_grace_seconds,
        'max_catchup', max_catchup, 'overlap', overlap, 'flow_key', flow_key, 'jitter_seconds', jitter_seconds,
        'jitter_percent', jitter_percent, 'priority', priority, 'calendars', calendars, 'on_closed', on_closed,
        'min_gap_seconds', min_gap_seconds, 'paused_at', paused_at, 'skip_runs', skip_runs, 'skip_until', skip_until)))
$$;

-- The set of files that has a job; null: none, or who asks may not read sets.
create or replace function tocsin.set_of(job uuid)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not has_table_privilege('tocsin.set_members', 'select') then
        return null;
    end if;
    return (select m.set_name from tocsin.set_members m where m.job_id = set_of.job and m.removed_at is null);
end $$;
