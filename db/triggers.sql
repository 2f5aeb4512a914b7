-- db/triggers/1_settings.sql: conditions and durations that several functions and queries share.

-- Functions and triggers; safe to apply again at any time, and applied after every migration.
-- db/triggers.sql is made of the files in db/triggers by `make triggers`: edit those.
-- Without the triggers nothing is lost: rows need next_run filled in by hand and start later.
-- Nothing here looks a name up in a schema that others may write to: each function has a search path
-- of its own, or a body that is bound when it is created.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;  -- a backslash is one, whatever is set for the database

-- Whether a job may be claimed once its time has come; the index jobs_claimable has the same condition. While
-- a job has runs of its own its plan waits for them, but not a run that has begun, which comes first. This and
-- what follows is inlined: it costs a query nothing but a look-up when it is planned.
create or replace function tocsin.is_claimable(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.next_run is not null and job.paused_at is null and job.plan_error is null
        and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is null;

-- Whether a job of a flow, which needs a permit besides, may be claimed once its time has come; the condition of the indexes
-- jobs_flow and jobs_flow_due.
create or replace function tocsin.is_flow_claimable(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.next_run is not null and job.paused_at is null and job.plan_error is null
        and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is not null;

-- Whether the starts of a job's runs are spread, so that next_run may lie behind scheduled_for. See
-- app/core/schedule/spread.py.
create or replace function tocsin.has_jitter(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.jitter_seconds is not null or job.jitter_percent is not null;

-- The highest priority; the usual one is 0. The rule of the column says so too.
create or replace function tocsin.highest_priority()
returns integer language sql immutable parallel safe
    return 3;

-- At which place a due job is claimed where more are due than can be: a level counts as a minute of waiting. See
-- app/core/runs/priority.py.
create or replace function tocsin.rank(due_at timestamptz, priority integer)
returns timestamptz language sql stable parallel safe
    return due_at - least(greatest(priority, 0), 3) * interval '1 minute';

-- Whether an instance has yet to plan a job; the condition of the index jobs_unplanned.
create or replace function tocsin.is_unplanned(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.planned_at is null and job.plan_error is null;

-- A write that makes a job due within so long wakes the instances. Each looks at least twice in that time.
create or replace function tocsin.wake_window()
returns interval language sql immutable parallel safe
    return interval '60 seconds';

-- Whether the instances have to know of a job at once: it has yet to be planned, or is due soon. The trigger
-- jobs_900_wake_update says the same in its WHEN, where a function would be planned anew for every statement.
create or replace function tocsin.is_soon(job tocsin.jobs, moment timestamptz)
returns boolean language sql stable parallel safe
    return job.paused_at is null and job.plan_error is null
        and (job.planned_at is null or job.next_run < moment + tocsin.wake_window());

-- The longest that an instance announces to poll; more was written before the clock was set back.
create or replace function tocsin.max_polling()
returns interval language sql immutable parallel safe
    return interval '5 seconds';

-- While a target written within so long is unchecked, an instance has been told and looks for others.
create or replace function tocsin.check_window()
returns interval language sql immutable parallel safe
    return interval '2 seconds';

-- The columns of tocsin.jobs but those of a lease: a trigger after an update of these is not called for a claim or an
-- extension, of which it would take a tenth of the time to read and plan its condition.
create or replace function tocsin.columns_beside_the_lease()
returns text language sql stable
    return (
        select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
        where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and not attisdropped
          and attname not in ('locked_until', 'locked_by', 'fence', 'attempt', 'claimed_at', 'claimed_for',
              'claimed_attempt', 'execution_id', 'validated'));

comment on function tocsin.is_claimable(job tocsin.jobs) is
    'Whether a job may be claimed once its time has come; the index jobs_claimable has the same condition. While a job has runs of its own its plan waits for them, but not a run that has begun, which comes first. This and what follows is inlined: it costs a query nothing but a look-up when it is planned.';
comment on function tocsin.is_flow_claimable(job tocsin.jobs) is
    'Whether a job of a flow, which needs a permit besides, may be claimed once its time has come; the condition of the indexes jobs_flow and jobs_flow_due.';
comment on function tocsin.has_jitter(job tocsin.jobs) is
    'Whether the starts of a job''s runs are spread, so that next_run may lie behind scheduled_for. See app/core/schedule/spread.py.';
comment on function tocsin.highest_priority() is
    'The highest priority; the usual one is 0. The rule of the column says so too.';
comment on function tocsin.rank(due_at timestamptz, priority integer) is
    'At which place a due job is claimed where more are due than can be: a level counts as a minute of waiting. See app/core/runs/priority.py.';
comment on function tocsin.is_unplanned(job tocsin.jobs) is
    'Whether an instance has yet to plan a job; the condition of the index jobs_unplanned.';
comment on function tocsin.wake_window() is
    'A write that makes a job due within so long wakes the instances. Each looks at least twice in that time.';
comment on function tocsin.is_soon(job tocsin.jobs, moment timestamptz) is
    'Whether the instances have to know of a job at once: it has yet to be planned, or is due soon. The trigger jobs_900_wake_update says the same in its WHEN, where a function would be planned anew for every statement.';
comment on function tocsin.max_polling() is
    'The longest that an instance announces to poll; more was written before the clock was set back.';
comment on function tocsin.check_window() is
    'While a target written within so long is unchecked, an instance has been told and looks for others.';
comment on function tocsin.columns_beside_the_lease() is
    'The columns of tocsin.jobs but those of a lease: a trigger after an update of these is not called for a claim or an extension, of which it would take a tenth of the time to read and plan its condition.';
-- db/triggers/2_wake.sql: which writes wake the instances.

-- Wakes the instances. The payload is constant, so Postgres folds a transaction's into one; a
-- notification makes its COMMIT take an instance-wide lock, so only rows that need one come here:
-- due within tocsin.wake_window() (every instance looks twice in that time), or yet to be planned. None is sent
-- while an instance polls, as it announces at a high rate of notifications; an announcement that is
-- longer than any comes from before the clock was set back.
-- A full queue must not fail the writer's COMMIT; a look that comes late is better.
create or replace function tocsin.wake()
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from tocsin.polling
               where polling_until > clock_timestamp()
                 and polling_until < clock_timestamp() + tocsin.max_polling()) then
        return false;
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_jobs', '');
    end if;
    return true;
end $$;

-- Wakes the instances to check targets whose execution is far ahead. Those who write many need not
-- notify for each: while one of the last two seconds has yet to be checked, its writer has notified,
-- and whoever checks it looks again and again for some seconds. See app/scheduler/checking.py.
-- A session that asked within the same second need not ask again; what it remembers of that is undone
-- with the transaction.
create or replace function tocsin.wake_to_check(kind text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
begin
    if exists (select from tocsin.jobs j
               where j.unchecked and j.next_run is not null and j.planned_at is not null and j.plan_error is null
                 and j.kind = wake_to_check.kind
                 and j.edited_at > moment - tocsin.check_window() and j.edited_at <= moment) then
        return false;
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_targets', '');
    end if;
    return true;
end $$;

-- Wakes the instances for rows that an update makes due soon or leaves unplanned, and for targets to check.
create or replace function tocsin.wake_after_update()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.flow_key is not null then
        perform tocsin.wake_flow(new.flow_key);
    else
        perform tocsin.wake();
    end if;
    return null;
end $$;

-- Notifies only of jobs that an edit made claimable sooner: an instance that settles or plans a job
-- knows its next run and looks in time; should that instance die, the others find the job at their
-- next look.
-- The condition is that of tocsin.is_soon, written out: a function that a WHEN calls would be planned anew for
-- every settlement. An edit that frees a lease notifies in tocsin.free_lease.
do $$ begin
    execute format($trigger$
        create or replace trigger jobs_900_wake_update after update of %s on tocsin.jobs
            for each row
            when (new.locked_until is not distinct from old.locked_until
                  and new.paused_at is null and new.plan_error is null
                  and (new.planned_at is null
                       or (new.next_run < clock_timestamp() + interval %L
                           and (old.next_run is null or new.next_run < old.next_run
                                or old.paused_at is not null or old.plan_error is not null))))
            execute function tocsin.wake_after_update()
    $trigger$, tocsin.columns_beside_the_lease(), tocsin.wake_window());
end $$;

comment on function tocsin.wake() is
    'Wakes the instances. The payload is constant, so Postgres folds a transaction''s into one; a notification makes its COMMIT take an instance-wide lock, so only rows that need one come here: due within tocsin.wake_window() (every instance looks twice in that time), or yet to be planned. None is sent while an instance polls, as it announces at a high rate of notifications; an announcement that is longer than any comes from before the clock was set back. A full queue must not fail the writer''s COMMIT; a look that comes late is better.';
comment on function tocsin.wake_to_check(kind text) is
    'Wakes the instances to check targets whose execution is far ahead. Those who write many need not notify for each: while one of the last two seconds has yet to be checked, its writer has notified, and whoever checks it looks again and again for some seconds. See app/scheduler/checking.py. A session that asked within the same second need not ask again; what it remembers of that is undone with the transaction.';
comment on function tocsin.wake_after_update() is
    'Wakes the instances for rows that an update makes due soon or leaves unplanned, and for targets to check.';
-- db/triggers/3_claims.sql: functions that a look calls.

-- Returns the target of a job as text, or null if the targets that the same statement got before are too long
-- together: more than `most` bytes. The first target is always returned. A target that is stored in few bytes is
-- returned even then, as its text should be short; but the text may be long, so this ends at twice `most`.
-- The function is volatile, so that the row is read as the transaction that has locked it sees it. A row that was
-- validated when it was written is not validated again; a longer target that got past that is refused before its
-- text takes time and memory. The sum is in a setting of the transaction: short targets cost nothing.
create or replace function tocsin.long_target(job_id uuid, most integer)
returns text language plpgsql strict set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    written bigint := coalesce(nullif(current_setting('tocsin.written_bytes', true), ''), '0');
    text text;
    bytes integer;
begin
    select target, validated, pg_column_size(target) <= 2000 and pg_column_compression(target) is null as short
    into one from tocsin.jobs where id = job_id;
    if written > 2::bigint * most or (written > most and not one.short) then
        return null;
    end if;
    if one.validated and not tocsin.fits_at_once(one.target, 262144) then
        raise exception using errcode = 'program_limit_exceeded',
            message = 'target has more than 262144 bytes as text', hint = 'Make it smaller.';
    end if;
    text := one.target::text;
    bytes := octet_length(text);
    if bytes > 2000 then
        perform set_config('tocsin.written_bytes', (written + bytes)::text, true);
        if written > 0 and written + bytes > most then
            return null;
        end if;
    end if;
    return text;
end $$;

-- The earliest start of an execution that nobody settled. Instances claim up to a quarter of a second ahead of the
-- instant, and begin at it; due_at: next_run of the claim, which only an edit has moved far from it.
create or replace function tocsin.earliest_start(claimed_at timestamptz, due_at timestamptz)
returns timestamptz language sql stable
    return greatest(claimed_at, case when due_at < claimed_at + interval '1 second' then due_at end);

-- Records executions as lost whose leases ended before a look claimed their jobs again. Returns why Postgres
-- refused a record, as for a user's trigger or a missing partition: the job of the execution goes on all the same.
-- This is a function, as an INSERT in the look itself would cost each look, and nearly none needs it.
create or replace function tocsin.record_lost(executions json)
returns text language plpgsql strict set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    refused text;
begin
    for one in
        select * from json_to_recordset(executions) as lost (
            id bigint, job_id uuid, fence bigint, kind text, scheduled_for timestamptz, attempt integer,
            started_at timestamptz, instance text, lease_ended_at timestamptz)
    loop
        begin
            insert into tocsin.executions (
                id, job_id, fence, kind, scheduled_for, attempt,
                outcome, reason, started_at, finished_at, instance, error)
            values (
                one.id, one.job_id, one.fence, one.kind, one.scheduled_for, one.attempt,
                'lost', 'lease', one.started_at, now(), one.instance,
                format('instance %s did not settle before its lease ended at %s', one.instance,
                       to_char(one.lease_ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
        exception when others then
            refused := sqlerrm;
        end;
    end loop;
    return refused;
end $$;

comment on function tocsin.long_target(job_id uuid, most integer) is
    'Returns the target of a job as text, or null if the targets that the same statement got before are too long together: more than `most` bytes. The first target is always returned. A target that is stored in few bytes is returned even then, as its text should be short; but the text may be long, so this ends at twice `most`. The function is volatile, so that the row is read as the transaction that has locked it sees it. A row that was validated when it was written is not validated again; a longer target that got past that is refused before its text takes time and memory. The sum is in a setting of the transaction: short targets cost nothing.';
comment on function tocsin.earliest_start(claimed_at timestamptz, due_at timestamptz) is
    'The earliest start of an execution that nobody settled. Instances claim up to a quarter of a second ahead of the instant, and begin at it; due_at: next_run of the claim, which only an edit has moved far from it.';
comment on function tocsin.record_lost(executions json) is
    'Records executions as lost whose leases ended before a look claimed their jobs again. Returns why Postgres refused a record, as for a user''s trigger or a missing partition: the job of the execution goes on all the same. This is a function, as an INSERT in the look itself would cost each look, and nearly none needs it.';
-- db/triggers/4_check.sql: refuses what a person writes, where a constraint cannot or would show the row.

-- An IANA name that this server knows. Not pg_timezone_names: that view reads a directory tree. The
-- setting takes a name in any case, as no instance does, and turns into the name as it is spelled.
create or replace function tocsin.check_timezone(timezone text)
returns void language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    spelling text;
    hint text := 'Write an IANA name such as UTC, Europe/Paris or America/New_York.';
begin
    if timezone !~ '^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$' then
        raise invalid_parameter_value;
    end if;
    spelling := set_config('timezone', timezone, true);  -- until the end of this function
    -- Postgres also takes what POSIX does, such as UTC+2, whose sign is the other way round, and files
    -- that stand beside the zones.
    if spelling ~ '[0-9]' and spelling !~ '^(Etc/)?GMT[+-]?0$|^Etc/GMT[+-][0-9]+$|^(EST5EDT|CST6CDT|MST7MDT|PST8PDT)$'
        or spelling ~ '^(posix|right)/|^(localtime|posixrules|Factory)$' then
        raise invalid_parameter_value;
    end if;
    if spelling <> timezone then
        hint := format('Did you mean %s?', spelling);
        raise invalid_parameter_value;
    end if;
exception when invalid_parameter_value then
    perform tocsin.refuse('timezone', format('%L is not known to Postgres', timezone), hint);
end $$;

-- Refuses a row that lacks what it needs, by the first such column. The constraints would do so too, but
-- then Postgres shows the whole row, with its target, in the error and in the server's log.
create or replace function tocsin.refuse_nulls(job tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    missing constant text := (
        select attname from pg_attribute
        where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and attnotnull and attname <> 'timezone'
          and to_jsonb(job) -> attname = 'null'
        order by attnum limit 1);
begin
    perform tocsin.refuse(missing, 'is missing', case missing
        when 'kind' then 'Write which executor runs the job: http or amqp.'
        when 'target' then 'Write a JSON object, such as {"url": "https://example.com/"} of the kind http.'
        else 'Leave the column out to have its default.' end);
end $$;

-- The servers that a target is sent to, and gets tokens from: scheme, host and port as they are written, in lower case.
create or replace function tocsin.servers(target jsonb)
returns text[] language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(coalesce(regexp_replace(lower(substring(at.url from '^[^/?#]*//[^/?#]*')), '//.*@', '//'), '')), '{}')
    from (values (target ->> 'url'), (target #>> '{auth,token_url}')) as at (url)
    where at.url is not null;
$$;

-- Whether an edit of a target takes encrypted secrets along to a server that they were not given for, or to one that is not
-- verified any more. The API asks for such secrets anew; who edits the row in SQL may not know them either.
create or replace function tocsin.takes_secrets_elsewhere(before jsonb, target jsonb)
returns boolean language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (  -- without the last character, of which base64 leaves some bits to everybody's choice
        select found.token[1] from regexp_matches(
            case when elsewhere.so then target else sent.target end::text, '(encrypted[.]v[0-9]+[.][A-Za-z0-9_.-]+)[A-Za-z0-9_-]=*', 'g') as found (token)
        intersect
        select found.token[1] from regexp_matches(before::text, '(encrypted[.]v[0-9]+[.][A-Za-z0-9_.-]+)[A-Za-z0-9_-]=*', 'g') as found (token))
    from (values (not tocsin.servers(target) <@ tocsin.servers(before))) as elsewhere (so)
    cross join lateral (
        -- The key of a certificate, and that of signatures, are not sent.
        select target - 'client_key' - case when target #>> '{auth,type}' = 'signature' then 'auth' else '' end as target) as sent
    where elsewhere.so or exists (
        select from (values ('{verify_tls}'::text[]), ('{starttls}'), ('{auth,verify_tls}')) as field (path)
        where target #> field.path = 'false' and before #> field.path is distinct from 'false')
      or exists (
        select from (values ('{ca}'::text[]), ('{auth,ca}')) as field (path)
        where target #>> field.path <> coalesce(before #>> field.path, ''));
$$;

comment on function tocsin.check_timezone(timezone text) is
    'An IANA name that this server knows. Not pg_timezone_names: that view reads a directory tree. The setting takes a name in any case, as no instance does, and turns into the name as it is spelled.';
comment on function tocsin.refuse_nulls(job tocsin.jobs) is
    'Refuses a row that lacks what it needs, by the first such column. The constraints would do so too, but then Postgres shows the whole row, with its target, in the error and in the server''s log.';
comment on function tocsin.servers(target jsonb) is
    'The servers that a target is sent to, and gets tokens from: scheme, host and port as they are written, in lower case.';
comment on function tocsin.takes_secrets_elsewhere(before jsonb, target jsonb) is
    'Whether an edit of a target takes encrypted secrets along to a server that they were not given for, or to one that is not verified any more. The API asks for such secrets anew; who edits the row in SQL may not know them either.';
-- db/triggers/4_names.sql: names by which nothing could be addressed.

-- Whether no job may be given this name: what follows /v1/jobs in addresses of their own, and what programs leave
-- out of an address, with what stands before. RESERVED_NAMES in app/core/jobs/names.py are the same. A job that has one of
-- them from before keeps it, so this is no rule of tocsin.broken_rule.
create or replace function tocsin.is_reserved(name text)
returns boolean language sql immutable parallel safe
    return name in ('.', '..', 'apply', 'batch', 'plan');

-- Refuses a name, in the column that the trigger names, that programs leave out of an address. What has it from before keeps it.
create or replace function tocsin.refuse_dots()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and to_jsonb(new) -> tg_argv[0] = to_jsonb(old) -> tg_argv[0] then
        return new;
    end if;
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = tg_table_name, column = tg_argv[0],
        message = tg_argv[0] || ' cannot be . or .., which no address can have', hint = 'Choose another name.';
end $$;

create or replace trigger calendars_090_dots before insert or update of name on tocsin.calendars
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger flows_090_dots before insert or update of flow_key on tocsin.flows
    for each row when (new.flow_key in ('.', '..')) execute function tocsin.refuse_dots('flow_key');
create or replace trigger sets_090_dots before insert or update of name on tocsin.sets
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger alert_rules_090_dots before insert or update of name on tocsin.alert_rules
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger alert_channels_090_dots before insert or update of name on tocsin.alert_channels
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger api_keys_090_dots before insert or update of name on tocsin.api_keys
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');

comment on function tocsin.is_reserved(name text) is
    'Whether no job may be given this name: what follows /v1/jobs in addresses of their own, and what programs leave out of an address, with what stands before. RESERVED_NAMES in app/core/jobs/names.py are the same. A job that has one of them from before keeps it, so this is no rule of tocsin.broken_rule.';
comment on function tocsin.refuse_dots() is
    'Refuses a name, in the column that the trigger names, that programs leave out of an address. What has it from before keeps it.';
-- db/triggers/4_plan.sql: plans what a person writes.

-- Fills in the plan of a row that a person wrote: a one-off is due at its instant; a recurring job is left
-- unplanned (planned_at null) for an instance, which is woken for it. What holds for every row is left to
-- the constraint. Writes of instances never come here: see the WHEN.
create or replace function tocsin.plan_job()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
    rescheduled boolean;
    retargeted boolean := false;
    is_soon boolean;
    planned timestamptz;
    woke boolean;
    this_second text;
    unstamped tocsin.jobs;
begin
    if num_nulls(new.kind, new.target, new.tags, new.metadata, new.dst_gap, new.dst_overlap, new.max_attempts,
        new.backoff_seconds, new.backoff_max_seconds, new.timeout_seconds, new.misfire, new.max_catchup, new.priority,
        new.overlap, new.on_closed) > 0 then
        perform tocsin.refuse_nulls(new);
    end if;
    -- A job of 0.1.0 may have it, and is inserted again by what writes "on conflict (name) do update".
    if tocsin.is_reserved(new.name) and new.name is distinct from old.name then  -- apart: the rest is a query
        if not (tg_op = 'INSERT' and exists (select from tocsin.jobs j where j.name = new.name)) then
            perform tocsin.refuse('name', format('cannot be %L, which an address of the API has, or none can have', new.name),
                'Choose another name.');
        end if;
    end if;
    if tg_op = 'INSERT' then
        new.validated := false;  -- a person cannot say so
        new.creation := nextval('tocsin.audit_log_id_seq');
        new.created_at := moment;
        new.updated_at := moment;
        new.edited_at := moment;
        new.created_by := left(tocsin.actor(), 200);
        new.created_as := session_user;
        new.created_with := nullif(current_setting('application_name', true), '');
        -- The common case is done with few expressions: each is set up anew in every transaction.
        if new.run_at is not null and new.next_run is null and new.planned_at is null and new.timezone = 'UTC'
            and new.run_of is null and new.flow_key is null then
            new.next_run := new.run_at;
            new.scheduled_for := coalesce(new.scheduled_for, new.run_at);
            new.planned_at := moment;
            if new.run_at < moment + tocsin.wake_window()  -- as tocsin.is_soon, which takes a microsecond more
                and new.paused_at is null and new.plan_error is null then
                woke := tocsin.wake();  -- an assignment, as PERFORM is a query
                new.unchecked := nullif(new.unchecked, true);  -- its execution will
            elsif new.unchecked is distinct from false then  -- else the API has checked the target
                new.unchecked := true;
                if current_setting('tocsin.woken_to_check', true)
                        is distinct from new.kind || date_part('epoch', moment)::bigint then
                    woke := tocsin.wake_to_check(new.kind);
                    this_second := set_config(
                        'tocsin.woken_to_check', new.kind || date_part('epoch', moment)::bigint, false);
                end if;
            end if;
            return new;
        end if;
        if new.run_of is not null then
            if new.request = 'planned' and current_setting('tocsin.runs', true) = 'on' then
                new.creation := null;  -- see tocsin.part_run
                return new;
            end if;
            return tocsin.add_run(new);
        end if;
        rescheduled := new.planned_at is null and new.next_run is null;
    else
        if current_setting('tocsin.runs', true) = 'on' then
            return new;  -- what becomes of a run is told to its job: no edit
        end if;
        -- Where nothing else changes than the time of the change, nothing does.
        new.edited_at := old.edited_at;
        unstamped := new;
        unstamped.updated_at := old.updated_at;
        if unstamped *= old then
            return new;
        end if;
        if num_nonnulls(old.run_of, new.run_of) > 0 then
            return tocsin.edit_run(old, new);
        end if;
        if new.pending_runs <> old.pending_runs and pg_trigger_depth() = 1 then  -- by hand
            new.pending_runs := tocsin.count_pending(new);
        end if;
        if new.overlap <> old.overlap and 'allow_all' in (new.overlap, old.overlap) then
            new.pending_runs := tocsin.count_pending(new);
        end if;
        if new.pending_runs > 0 and old.attempt = 0 then
            new.attempt := 0;  -- else its plan would be claimed beside its runs
        end if;
        new.validated := false;
        new.creation := null;  -- its entry is written with that of this change
        if old.execution_id is not null then
            new := tocsin.take_lease_away(old, new);
        end if;
        new.updated_at := moment;
        new.edited_at := greatest(moment, old.edited_at + interval '1 microsecond');
        -- Only what the schedule depends on: else a new time zone would repeat a one-off that is done.
        rescheduled := row(new.run_at, new.cron, new.every_seconds)
                is distinct from row(old.run_at, old.cron, old.every_seconds)
            or (new.run_at is null and (
                row(new.starts_at, new.ends_at) is distinct from row(old.starts_at, old.ends_at)
                or (new.max_runs is distinct from old.max_runs and new.next_run is null)))
            or (new.cron is not null
                and row(new.timezone, new.dst_gap, new.dst_overlap)
                    is distinct from row(old.timezone, old.dst_gap, old.dst_overlap));
        retargeted := new.kind <> old.kind or row(new.target)::record *<> row(old.target)::record;
        -- Most targets have no secret of their own, and are not asked about.
        if retargeted and position('encrypted.v' in new.target::text) > 0
                and tocsin.takes_secrets_elsewhere(old.target, new.target) then
            perform tocsin.refuse('target', 'keeps a secret that was encrypted for another server, or for one that is verified',
                'Write the secret anew, or store it under a name: ${secret:NAME}.');
        end if;
        if rescheduled or retargeted then
            new.plan_error := case when new.plan_error is distinct from old.plan_error then new.plan_error end;
        end if;
        -- A schedule that was refused is no more right for an edit of something else: judge it again.
        rescheduled := rescheduled
            or (old.plan_error is not null and new.plan_error is null
                and old.next_run is null and new.next_run is null and new.run_at is null);
    end if;
    new.timezone := coalesce(btrim(new.timezone, concat(' ', chr(9), chr(10), chr(13))), 'UTC');
    if new.timezone <> 'UTC' and (tg_op = 'INSERT' or new.timezone is distinct from old.timezone) then
        perform tocsin.check_timezone(new.timezone);
    end if;

    if tg_op = 'UPDATE' and new.next_run is distinct from old.next_run then
        -- Moved by hand. A pending retry stays the same run; anything else is a new one.
        new.planned_at := moment;
        if old.attempt = 0 or old.locked_until > moment or new.next_run is null then
            if new.scheduled_for is not distinct from old.scheduled_for then
                new.scheduled_for := new.next_run;
            end if;
            new.attempt := 0;
        end if;
    elsif rescheduled then
        planned := new.run_at;
        -- With all of its runs behind it a recurring job is finished.
        new.planned_at := case when new.run_at is not null or new.runs >= new.max_runs then moment end;
        if tg_op = 'INSERT' then
            if new.run_at is null and new.ends_at <= moment then
                perform tocsin.refuse('ends_at', 'has passed: the job would never run', 'Write a later instant.');
            end if;
            new.next_run := planned;
            new.scheduled_for := coalesce(new.scheduled_for, planned);
        else
            new.next_run := planned;
            new.scheduled_for := planned;
            new.attempt := 0;
        end if;
    elsif tg_op = 'UPDATE' and row(new.jitter_seconds, new.jitter_percent)
            is distinct from row(old.jitter_seconds, old.jitter_percent) then
        -- The run to come stays what it is, and is spread anew by an instance; one whose instant has come, or that
        -- has begun, is left alone.
        if new.run_at is null and old.next_run is not null and old.scheduled_for > moment + interval '1 second'
            and old.attempt = 0 and old.locked_until is null then
            new.next_run := null;
            new.planned_at := null;
        end if;
    elsif tg_op = 'INSERT' and new.planned_at is null then
        new.planned_at := moment;  -- next_run is given by whoever inserts the row
        new.scheduled_for := coalesce(new.scheduled_for, new.next_run);
    end if;
    -- Done here, as the WHEN of a trigger of its own would be read and planned anew for every statement.
    is_soon := tocsin.is_soon(new, moment);
    if tg_op = 'INSERT' and is_soon then
        woke := tocsin.wake();
    end if;
    if new.flow_key in ('.', '..') and new.flow_key is distinct from old.flow_key then
        perform tocsin.refuse('flow_key', 'cannot be . or .., which no address can have', 'Choose another key.');
    end if;
    if new.flow_key is not null and is_soon and (tg_op = 'INSERT' or new.flow_key is distinct from old.flow_key) then
        perform tocsin.wake_flow(new.flow_key);
    elsif tg_op = 'UPDATE' and new.flow_key is null and old.flow_key is not null and is_soon then
        woke := tocsin.wake();
    end if;
    -- A target that its execution will not check soon: a new or another one, one that was refused, and
    -- one whose execution was put off. A statement that sets the mark as well, as the API's do, has checked it.
    if tg_op = 'INSERT' then
        new.unchecked := case when new.unchecked is false then false
            when is_soon and new.run_at is not null then null
            else true end;
    elsif new.unchecked is not distinct from old.unchecked
        and (retargeted or (new.plan_error is null and old.plan_error is not null)
            or (new.unchecked is null and not coalesce(is_soon, false))) then
        new.unchecked := true;
    end if;
    if new.unchecked and new.next_run is not null and new.planned_at is not null and new.plan_error is null then
        woke := tocsin.wake_to_check(new.kind);
    end if;
    return new;
end $$;

create or replace trigger jobs_100_plan_insert before insert on tocsin.jobs
    for each row execute function tocsin.plan_job();

-- A claim, an extension, a settlement and an instance's plan change one of these two columns;
-- a person never does. So this costs instances one comparison.
create or replace trigger jobs_100_plan_update before update on tocsin.jobs
    for each row
    when (new.locked_until is not distinct from old.locked_until
          and new.planned_at is not distinct from old.planned_at)
    execute function tocsin.plan_job();

-- And an edit that frees the lease in the same statement: no instance writes these columns together
-- with a lease, so they are not asked.
-- The columns are those of jobs_200_sound, the list of what people write, but for the id and the stamps.
do $$ begin
    execute format($trigger$
        create or replace trigger jobs_110_plan_freed before update of %s on tocsin.jobs for each row
            when (new.locked_until is distinct from old.locked_until
                  and new.planned_at is not distinct from old.planned_at)
            execute function tocsin.plan_job()
    $trigger$, (
        select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute, pg_trigger
        where tgrelid = 'tocsin.jobs'::regclass and tgname = 'jobs_200_sound'
          and attrelid = tgrelid and attnum = any (tgattr::smallint[])
          and attname not in ('id', 'created_at', 'updated_at', 'edited_at')));
end $$;

comment on function tocsin.plan_job() is
    'Fills in the plan of a row that a person wrote: a one-off is due at its instant; a recurring job is left unplanned (planned_at null) for an instance, which is woken for it. What holds for every row is left to the constraint. Writes of instances never come here: see the WHEN.';
-- db/triggers/4_rules.sql: what a row of jobs may be, rule by rule.

-- What holds for every row, each rule once: its condition, and as an array the column, what is wrong there
-- (%L and %s: with the value) and what to write instead. A rule about several columns lists them. What is
-- null breaks none. Few expressions, because each is planned once for a session and set up anew in each
-- transaction that needs it. Refuses the row for the first rule that it breaks, or returns that one; null: it
-- breaks none.
-- In one function, because Postgres reads and plans the text of constraints anew for every statement: as
-- twenty constraints they took four fifths of the time of an INSERT.
create or replace function tocsin.broken_rule(job tocsin.jobs, refusing boolean)
returns text[] language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    broken text[];
    columns text[];
    rest tocsin.jobs;
    value text;
begin
    broken := case
        when num_nonnulls(job.run_at, job.cron, job.every_seconds) = 0 then
            array['run_at', 'or another schedule is missing',
                'Give exactly one of run_at, cron (with timezone), every_seconds.']
        when num_nonnulls(job.run_at, job.cron, job.every_seconds) > 1 then
            array[case when job.every_seconds is null then 'cron' else 'every_seconds' end, 'is a second schedule',
                'Give exactly one of run_at, cron (with timezone), every_seconds.']
        when job.kind not in ('http', 'amqp') and job.kind !~ '^[a-z][a-z0-9_]{0,62}$' then
            array['kind', '%L is not the name of an executor',
                'Write http, amqp or the name of another installed executor.']
        when jsonb_typeof(job.target) <> 'object' then
            array['target', 'must be a JSON object',
                'For example: {"url": "https://example.com/hook", "method": "POST"}']
        when not tocsin.fits_at_once(job.target, 262144) then
            array['target', 'has more than 262144 bytes as text',
                'Make it smaller; numbers count as they are written out: 1e308 has 309 digits.']
        when tocsin.is_deep(job.target) then
            array['target', 'is nested too deeply', 'Use at most 100 levels.']
        -- 'infinity' and years that Python cannot hold would break every reader of the row.
        when least(job.run_at, job.starts_at, job.ends_at, job.next_run, job.scheduled_for,
                    job.planned_at, job.paused_at, job.locked_until, job.claimed_at, job.claimed_for,
                    job.last_finished_at, job.created_at, job.updated_at, job.edited_at) < '2000-01-01 00:00Z'
                or greatest(job.run_at, job.starts_at, job.ends_at, job.next_run, job.scheduled_for,
                    job.planned_at, job.paused_at, job.locked_until, job.claimed_at, job.claimed_for,
                    job.last_finished_at, job.created_at, job.updated_at, job.edited_at) > '2200-01-01 00:00Z' then
            array['run_at starts_at ends_at next_run scheduled_for planned_at paused_at locked_until '
                    'claimed_at claimed_for last_finished_at created_at updated_at edited_at',
                'is out of range', 'Write instants from the year 2000 to 2200; infinity is none.']
        when greatest(length(job.locked_by), length(job.created_by), length(job.created_as),
                    length(job.created_with)) > 500
                or length(job.plan_error) > 10000 then
            array['plan_error locked_by created_by created_as created_with', 'is too long', 'Leave it to the instances.']
    end;
    -- What most one-offs leave null, and what they leave at its default, breaks no rule.
    if broken is null and num_nonnulls(job.name, job.description, job.cron, job.every_seconds, job.starts_at,
            job.ends_at, job.max_runs, job.misfire_grace_seconds, job.execution_id, job.claimed_at,
            job.claimed_for, job.claimed_attempt, job.run_of, job.request, job.last_outcome,
            job.skip_runs, job.skip_until, job.flow_key,
            job.resumed_at, job.resume_missed, job.jitter_seconds, job.jitter_percent,
            job.calendars, job.min_gap_seconds) > 0 then
        broken := case
            -- A pattern that counts its characters, or is long, takes twenty times as long as one that finds one.
            when length(job.name) not between 1 and 200 or job.name ~ ('[/[:cntrl:]' || chr(128) || '-' || chr(159) || ']') then
                array['name', 'is empty, too long or has a slash or control character',
                    'Use 1 to 200 characters without "/".']
            when length(job.name) = 36 and job.name ~ '^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$' then
                array['name', '%L looks like an id', 'Choose another name.']
            when length(job.description) > 10000 then
                array['description', 'is too long', 'Use at most 10000 characters.']
            -- The form alone; an instance judges the rest. Units may have a letter beyond ASCII: the micro sign.
            when length(job.cron) > 128 or job.cron !~* ('^[[:space:]]*((CRON_)?TZ=[^[:space:]]*[[:space:]]+)*'
                    '(@every[[:space:]]*(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|[^ -~]s|ms|s|m|h))+|@(?!every)[a-z]+'
                    '|([^[:space:]@][^[:space:]]*[[:space:]]+){4,6}[^[:space:]]+)[[:space:]]*$') then
                array['cron', '%L has neither 5, 6 nor 7 fields nor a known form',
                    'Write minute hour day month weekday, for example ''0 3 * * *''; six fields start with seconds, '
                        'seven end with the year; or an alias such as @daily; or @every 1h30m.']
            when job.every_seconds not between 0.1 and 157680000 then
                array['every_seconds', '%s is out of range',
                    'Write seconds from 0.1 to 157680000 (five years), for example 90.']
            when job.starts_at >= job.ends_at then
                array['ends_at', 'is not later than starts_at', 'Let the window end after it starts.']
            when job.max_runs < 1 then
                array['max_runs', 'must be at least 1', 'Leave it null for no limit.']
            when job.misfire_grace_seconds not between 0 and 3155760000 then
                array['misfire_grace_seconds', 'must be from 0 to 3155760000', 'Leave it null for the default.']
            when num_nonnulls(job.execution_id, job.claimed_at, job.claimed_for, job.claimed_attempt) not in (0, 4) then
                array['execution_id', 'and claimed_at to claimed_attempt are not null together',
                    'Set none of them: instances do. To free a lease set locked_until to null.']
            when job.request not in ('run_now', 'replay', 'backfill', 'planned') or (job.request is null) <> (job.run_of is null) then
                array['request', 'is not what a run of its own has',
                    'Leave it out; to run a job now: select tocsin.run_now(id).']
            when job.last_outcome not in ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'missed') then
                array['last_outcome', '%L is unknown', 'Leave it to the instances.']
            when job.jitter_seconds not between 0 and 31557600 then
                array['jitter_seconds', 'must be from 0 to 31557600', 'Leave it null for none.']
            when job.jitter_percent not between 0 and 100 then
                array['jitter_percent', 'must be from 0 to 100', 'Leave it null for none.']
            when job.run_at is not null and num_nonnulls(job.jitter_seconds, job.jitter_percent) > 0 then
                array['jitter_seconds jitter_percent', 'is for recurring jobs',
                    'Write the instant that you want into run_at.']
            when num_nonnulls(job.jitter_seconds, job.jitter_percent) = 2 then
                array['jitter_percent', 'is given beside jitter_seconds', 'Leave one of them out.']
            when (job.jitter_seconds < 0.000001 and job.jitter_seconds <> 0)
                    or (job.jitter_percent < 0.000001 and job.jitter_percent <> 0)
                    or greatest(scale(job.jitter_seconds), scale(job.jitter_percent)) > 100 then
                array['jitter_seconds jitter_percent', 'is too small or too exact',
                    'Write 0 or at least 0.000001, with at most 100 decimal places.']
            when job.skip_runs not between 1 and 1000 then
                array['skip_runs', 'must be from 1 to 1000', 'Leave it null to skip none.']
            when job.skip_until not between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' then
                array['skip_until', 'is out of range', 'Write an instant from the year 2000 to 2200, or null to skip none.']
            when job.flow_key !~ ('^[^*/[:cntrl:]' || chr(128) || '-' || chr(159) || ']{1,200}$') then
                array['flow_key', 'is empty, too long or has a slash, an asterisk or a control character',
                    'Use 1 to 200 characters without "/" and "*", for example api.example.com:443.']
            when job.resumed_at not between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' then
                array['resumed_at', 'is out of range', 'Leave it to tocsin.resume.']
            when job.resume_missed not in ('skip', 'once', 'all') then
                array['resume_missed', '%L is unknown', 'Write skip, once or all; or use tocsin.resume.']
            when cardinality(job.calendars) > 20 or array_ndims(job.calendars) > 1 or array_position(job.calendars, null) is not null
                    or array_to_string(job.calendars, ',') !~ ('^(!?[^!,/[:cntrl:]' || chr(128) || '-' || chr(159) || '][^,/[:cntrl:]'
                        || chr(128) || '-' || chr(159) || ']{0,99}(,|$))*$') then
                array['calendars', 'are too many, or have something that is no name of a calendar',
                    'Write up to 20 names, for example {business-hours,!holidays}; null for none.']
            when job.min_gap_seconds not between 0.000001 and 31557600 or scale(job.min_gap_seconds) > 100 then
                array['min_gap_seconds', 'must be from 0.000001 to 31557600', 'Leave it null for no gap.']
        end;
    end if;
    if broken is null and row(job.tags, job.metadata, job.timezone, job.dst_gap, job.dst_overlap, job.misfire,
            job.max_attempts, job.backoff_seconds, job.backoff_max_seconds, job.timeout_seconds, job.max_catchup,
            job.attempt, job.fence, job.runs, job.consecutive_failures, job.pending_runs, job.every_seconds,
            job.misfire_grace_seconds, job.execution_id, job.claimed_attempt, job.overlap, job.priority, job.on_closed)
        is distinct from row('{}'::text[], '{}'::jsonb, 'UTC', 'run_after', 'first', 'run_once',
            5, 5, 3600, 30, 100, 0, 0, 0, 0, 0, null, null, null, null, 'buffer_all', 0, 'skip') then
        broken := case
            when array_ndims(job.tags) > 1 or array_position(job.tags, null) is not null then
                array['tags', 'must be a list of texts, without lists or nulls', 'For example: {billing,nightly}']
            when cardinality(job.tags) > 100
                    or array_to_string(job.tags, chr(10)) ~ ('[^' || chr(10) || ']{201}')
                    or octet_length(array_to_string(job.tags, '')) > 80000 then
                array['tags', 'are too many or too long', 'Use at most 100 tags of 200 characters.']
            when array_to_string(job.tags, '') ~ ',' or array_position(job.tags, '') is not null then
                array['tags', 'has a tag that is empty or has a comma, which separates tags in filters',
                    'For example: {billing,nightly}']
            when jsonb_typeof(job.metadata) <> 'object' then
                array['metadata', 'must be a JSON object', 'For example: {"team": "billing"}']
            when not tocsin.fits_at_once(job.metadata, 65536) then
                array['metadata', 'has more than 65536 bytes as text',
                    'Make it smaller; numbers count as they are written out: 1e308 has 309 digits.']
            when tocsin.is_deep(job.metadata) then
                array['metadata', 'is nested too deeply', 'Use at most 100 levels.']
            when length(job.timezone) > 100 then
                array['timezone', 'is too long', 'Write an IANA name such as UTC or Europe/Paris.']
            when job.max_attempts not between 1 and 1000 then
                array['max_attempts', 'must be from 1 to 1000', 'It includes the first attempt: 1 means no retry.']
            when job.backoff_seconds not between 0 and 31557600 then
                array['backoff_seconds', 'must be from 0 to 31557600',
                    'It is the wait before the first retry; later ones double it.']
            when job.backoff_max_seconds not between 0 and 31557600 then
                array['backoff_max_seconds', 'must be from 0 to 31557600', 'It caps the wait between retries.']
            when job.timeout_seconds not between 0.1 and 86400 then
                array['timeout_seconds', 'must be from 0.1 to 86400', 'It limits one execution.']
            when job.misfire not in ('run_once', 'skip', 'run_all') then
                array['misfire', '%L is unknown', 'Write run_once, skip or run_all.']
            -- A numeric may be too small, and have too many digits, for a double.
            when (job.backoff_seconds < 0.000001 and job.backoff_seconds <> 0)
                    or (job.backoff_max_seconds < 0.000001 and job.backoff_max_seconds <> 0)
                    or (job.misfire_grace_seconds < 0.000001 and job.misfire_grace_seconds <> 0)
                    or greatest(scale(job.every_seconds), scale(job.backoff_seconds), scale(job.backoff_max_seconds),
                        scale(job.timeout_seconds), scale(job.misfire_grace_seconds)) > 100 then
                array['every_seconds timeout_seconds backoff_seconds backoff_max_seconds misfire_grace_seconds',
                    'is too small or too exact', 'Write 0 or at least 0.000001, with at most 100 decimal places.']
            when job.max_catchup not between 0 and 10000 then
                array['max_catchup', 'must be from 0 to 10000', 'It limits how many missed runs misfire run_all makes up for.']
            when job.overlap not in ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all') then
                array['overlap', '%L is unknown', 'Write skip, buffer_one, buffer_all, cancel_other or allow_all.']
            when job.priority not between 0 and 3 then
                array['priority', 'must be from 0 to 3', '0 is the usual one; a higher one goes first where jobs have to wait.']
            when job.on_closed not in ('skip', 'next_open') then
                array['on_closed', '%L is unknown', 'Write skip or next_open.']
            when job.dst_gap not in ('run_after', 'skip') then
                array['dst_gap', '%L is unknown', 'Write run_after or skip.']
            when job.dst_overlap not in ('first', 'last', 'both') then
                array['dst_overlap', '%L is unknown', 'Write first, last or both.']
            -- What counts can count on.
            when job.attempt not between 0 and 1000000 or job.claimed_attempt not between 0 and 1000000 then
                array['attempt claimed_attempt', 'is out of range', 'Leave it to the instances; 0 begins the run anew.']
            when least(job.fence, job.runs, job.execution_id, job.consecutive_failures, job.pending_runs) < 0
                    or greatest(job.fence, job.runs, job.execution_id) > 4611686018427387903 then
                array['fence runs consecutive_failures pending_runs execution_id', 'is out of range',
                    'Leave it to the instances, which count it.']
        end;
    end if;
    if broken is null or not refusing then
        return broken;
    end if;
    -- Of several columns the first at fault is named: without those from there on the row keeps the rule.
    columns := string_to_array(broken[1], ' ');
    rest := job;
    for place in reverse cardinality(columns)..2 loop
        rest := jsonb_populate_record(rest, jsonb_build_object(columns[place], null));
        exit when tocsin.broken_rule(rest, false) is distinct from broken;
        columns := columns[:place - 1];
    end loop;
    if position('%' in broken[2]) > 0 then  -- else it may be endless
        execute format('select left(($1).%I::text, 140)', columns[cardinality(columns)]) into value using job;
    end if;
    perform tocsin.refuse(columns[cardinality(columns)], format(broken[2], value), broken[3]);
    return broken;
end $$;

comment on function tocsin.broken_rule(job tocsin.jobs, refusing boolean) is
    'What holds for every row, each rule once: its condition, and as an array the column, what is wrong there (%L and %s: with the value) and what to write instead. A rule about several columns lists them. What is null breaks none. Few expressions, because each is planned once for a session and set up anew in each transaction that needs it. Refuses the row for the first rule that it breaks, or returns that one; null: it breaks none. In one function, because Postgres reads and plans the text of constraints anew for every statement: as twenty constraints they took four fifths of the time of an INSERT.';
-- db/triggers/5_leases.sql: leases that a person takes away or edits under.

-- Takes the lease away if a person changed columns that identify it: returns the row without locked_until, so that
-- tocsin.free_lease does the rest.
create or replace function tocsin.take_lease_away(was tocsin.jobs, edited tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if num_nonnulls(was.locked_until, was.execution_id, was.claimed_at, was.claimed_for, was.claimed_attempt) = 5
        and row(edited.locked_by is null, edited.fence,
                edited.execution_id, edited.claimed_at, edited.claimed_for, edited.claimed_attempt)
            is distinct from row(was.locked_by is null, was.fence,
                was.execution_id, was.claimed_at, was.claimed_for, was.claimed_attempt) then
        edited.locked_until := null;
        edited.execution_id := was.execution_id;
        edited.claimed_at := was.claimed_at;
        edited.claimed_for := was.claimed_for;
        edited.claimed_attempt := was.claimed_attempt;
    end if;
    return edited;
end $$;

-- Notifies the instance that holds a claim of a row, which then finds out what became of its lease.
create or replace function tocsin.notify_recall(row_id uuid)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_recalls', row_id::text);
    end if;
end $$;

-- Completes the end of a lease that a person began, by setting locked_until to null or by changing columns that
-- identify the lease: clears all columns of the lease, records its execution as lost, and notifies the instance
-- that holds it. The run is due again, and the attempt counts. For tocsin.cancel the execution is recorded as
-- cancelled, and locked_until stays, so that nothing of the job is claimed before the holder has cut it off.
create or replace function tocsin.free_lease()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
    cancelled constant boolean := coalesce(current_setting('tocsin.cancelled', true) = old.execution_id::text, false);
    actor constant text :=
        left(coalesce(nullif(current_setting('tocsin.actor', true), ''), 'user ' || session_user), 200);
    cause constant text := coalesce(nullif(current_setting('tocsin.cancelled_for', true), ''), 'cancelled');
    earliest constant timestamptz := tocsin.earliest_start(old.claimed_at, old.next_run);
    woke boolean;
    broken text[];
begin
    if old.execution_id is null then
        broken := tocsin.broken_rule(new, true);
        perform tocsin.refuse('execution_id', 'and claimed_at to claimed_attempt are set without a claim',
            'Leave them to the instances. To free a lease set locked_until to null.');
    end if;
    insert into tocsin.executions (
        id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at, instance, error)
    values (old.execution_id, coalesce(old.run_of, old.id), old.fence, old.kind,
        coalesce(old.claimed_for, old.scheduled_for, old.next_run, moment),
        coalesce(old.claimed_attempt, greatest(old.attempt, 1)),
        case when cancelled then 'cancelled' else 'lost' end, case when cancelled then cause else 'lease' end,
        -- Claims are made ahead of their instants: what is cancelled before its own has not begun.
        case when not cancelled or earliest <= moment then least(moment, earliest) end, moment, old.locked_by,
        case when cancelled and cause = 'overlap' then
                format('%s asked for another run with the overlap cancel_other; was cut off on instance %s', actor, old.locked_by)
            when cancelled then format('%s cancelled this execution on instance %s', actor, old.locked_by)
            else format('%s took its lease away from instance %s', actor, old.locked_by) end);
    if not cancelled or old.locked_until <= moment then
        new.locked_until := null;
        new.locked_by := null;
    end if;
    new.claimed_at := null;
    new.claimed_for := null;
    new.claimed_attempt := null;
    new.execution_id := null;
    new.fence := greatest(new.fence, old.fence);
    if cancelled then
        new.last_finished_at := moment;
        perform tocsin.audit_cancellation(old);
        perform tocsin.notify_recall(old.id);
    else
        new.updated_at := moment;
        new.edited_at := greatest(new.edited_at, moment, old.edited_at + interval '1 microsecond');
    end if;
    if new.flow_key is not null then
        perform tocsin.wake_flow(new.flow_key);
    elsif tocsin.is_soon(new, moment) then
        woke := tocsin.wake();
    end if;
    return new;
end $$;

-- False for all statements of instances: a claim sets all of these columns, a settlement none.
create or replace trigger jobs_120_free_lease before update on tocsin.jobs
    for each row
    when ((new.locked_until is null and new.execution_id is not null)
          or num_nonnulls(new.execution_id, new.claimed_at, new.claimed_for, new.claimed_attempt) not in (0, 4))
    execute function tocsin.free_lease();

-- Notifies the instance that holds a claim that the job was edited or deleted. An instance holds a claim for a
-- moment before its start; a claim that has not started is then released, and the job as it is now is claimed.
-- Claims, extensions and settlements do not come here: they leave edited_at alone, whatever a user's trigger does
-- with updated_at.
create or replace function tocsin.recall()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform tocsin.notify_recall(old.id);
    return null;
end $$;

create or replace trigger jobs_910_recall_update after update on tocsin.jobs
    for each row
    when (old.locked_until is not null and new.edited_at is distinct from old.edited_at)
    execute function tocsin.recall();
create or replace trigger jobs_910_recall_delete after delete on tocsin.jobs
    for each row when (old.locked_until is not null)
    execute function tocsin.recall();

comment on function tocsin.take_lease_away(was tocsin.jobs, edited tocsin.jobs) is
    'Takes the lease away if a person changed columns that identify it: returns the row without locked_until, so that tocsin.free_lease does the rest.';
comment on function tocsin.notify_recall(row_id uuid) is
    'Notifies the instance that holds a claim of a row, which then finds out what became of its lease.';
comment on function tocsin.free_lease() is
    'Completes the end of a lease that a person began, by setting locked_until to null or by changing columns that identify the lease: clears all columns of the lease, records its execution as lost, and notifies the instance that holds it. The run is due again, and the attempt counts. For tocsin.cancel the execution is recorded as cancelled, and locked_until stays, so that nothing of the job is claimed before the holder has cut it off.';
comment on function tocsin.recall() is
    'Notifies the instance that holds a claim that the job was edited or deleted. An instance holds a claim for a moment before its start; a claim that has not started is then released, and the job as it is now is claimed. Claims, extensions and settlements do not come here: they leave edited_at alone, whatever a user''s trigger does with updated_at.';
-- db/triggers/6_audit.sql: the audit log.

-- The log has every change that a person or a program made, over the API or in SQL. Writes of instances are not in
-- it: their history is tocsin.executions. A bulk action has one entry, and its steps write none: see tocsin.in_bulk_step.

-- The functions below are called for each of thousands of rows that a statement deletes. They are therefore written
-- so that Postgres inlines them: an expression without a subquery, or a set that stands in FROM; and they are
-- stable, since an immutable function may not call format or jsonb_build_object.

-- A URL up to its path; null: it has an @, and a password may end anywhere before that. Cut out before it is matched:
-- to match the rest of it as well would take five times as long.
create or replace function tocsin.audited_origin(url text)
returns text language sql stable
    return case when position('@' in url) = 0
        then left(url, position('://' in url) + 2)
            || split_part(translate(substr(url, position('://' in url) + 3), '?#', '//'), '/', 1)
        end;

-- Only those parts of a target are kept that its kind declares as shown, none of which can be secret: a short value
-- as a whole, one of a few texts, or the part of a URL before its path. rule: what the kind declares of this one.
create or replace function tocsin.audited_part(value jsonb, rule jsonb)
returns jsonb language sql stable
    return case
        when rule is null then to_jsonb('***'::text)
        when rule ? 'origin' and jsonb_typeof(value) = 'string'
            and tocsin.audited_origin(value #>> '{}')
                ~ '^[a-z][a-z0-9+.-]*://([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?$'
            and rule -> 'origin' ? split_part(value #>> '{}', ':', 1) then to_jsonb(tocsin.audited_origin(value #>> '{}'))
        when jsonb_typeof(value) = 'string' and rule -> 'values' @> value then value
        when jsonb_typeof(value) in ('string', 'number', 'boolean') and rule -> 'whole' = 'true'
            and length(value #>> '{}') <= 200 then value
        else to_jsonb('***'::text)
    end;

-- What the audit log keeps of a target. Of a kind that no instance has recorded, no value.
create or replace function tocsin.audited_targets(kind text, target jsonb)
returns setof jsonb language sql stable
begin atomic
    select coalesce(jsonb_object_agg(left(key, 200), tocsin.audited_part(value, rule)), '{}')
    from (
        select key, value, told.shown -> key as rule
        from jsonb_each(target)
        left join tocsin.kinds told on told.kind = audited_targets.kind
        limit 100
    ) as kept;
end;

-- What the audit log keeps of one target, by one short query: where an edit has an entry for each row, to set up that of
-- tocsin.audited_targets took longer than the rest of the entry.
create or replace function tocsin.audited_target(kind text, target jsonb)
returns jsonb language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    shown constant jsonb := (select k.shown from tocsin.kinds k where k.kind = audited_target.kind);
    names constant jsonb := jsonb_path_query_array(target, 'strict $.keyvalue().key');
    name text;
    kept jsonb := '{}';
begin
    for place in 0..least(jsonb_array_length(names), 100) - 1 loop
        name := names ->> place;
        kept := kept || jsonb_build_object(left(name, 200), tocsin.audited_part(target -> name, shown -> name));
    end loop;
    return kept;
end $$;

-- Of a long value the log keeps its beginning or length, and a hash by which a change shows.
create or replace function tocsin.audited_text(value text)
returns text language sql stable
    return case when length(value) > 1000
        then left(value, 1000) || format('… (%s characters, md5 %s)', length(value), md5(value)) else value end;

-- What the audit log keeps of metadata: short ones as they are, of long ones their length and a hash.
create or replace function tocsin.audited_metadata(value jsonb)
returns jsonb language sql stable
    return case when pg_column_size(value) < 100 or octet_length(value::text) <= 8192 then value
        else to_jsonb(format('… (%s bytes, md5 %s)', octet_length(value::text), md5(value::text))) end;

-- The columns of a job that people decide, without those that change with every run. They are listed, so that a new
-- column is kept by decision only. `target`: the result of `audited_target`. Those that most jobs leave as they come are
-- written down once, in half of the time.
create or replace function tocsin.audited_columns(job tocsin.jobs, target jsonb)
returns jsonb language sql stable
    return jsonb_build_object(
        'name', job.name, 'description', tocsin.audited_text(job.description), 'tags', job.tags,
        'metadata', tocsin.audited_metadata(job.metadata), 'kind', job.kind, 'target', target,
        'run_at', job.run_at, 'cron', job.cron, 'timezone', job.timezone, 'every_seconds', job.every_seconds,
        'ends_at', job.ends_at, 'backoff_seconds', job.backoff_seconds,
        'backoff_max_seconds', job.backoff_max_seconds, 'timeout_seconds', job.timeout_seconds)
    || case
        when num_nonnulls(job.starts_at, job.max_runs, job.misfire_grace_seconds, job.paused_at, job.skip_runs,
                job.skip_until, job.flow_key, job.resume_missed, job.jitter_seconds, job.jitter_percent, job.calendars,
                job.min_gap_seconds) = 0
            and job.dst_gap = 'run_after' and job.dst_overlap = 'first' and job.max_attempts = 5
            and job.misfire = 'run_once' and job.max_catchup = 100 and job.overlap = 'buffer_all'
            and job.priority = 0 and job.on_closed = 'skip' then
            jsonb '{"starts_at": null, "max_runs": null, "misfire_grace_seconds": null, "paused_at": null,
                "skip_runs": null, "skip_until": null, "flow_key": null, "resume_missed": null, "jitter_seconds": null,
                "jitter_percent": null, "calendars": null, "min_gap_seconds": null, "dst_gap": "run_after",
                "dst_overlap": "first", "max_attempts": 5, "misfire": "run_once", "max_catchup": 100,
                "overlap": "buffer_all", "priority": 0, "on_closed": "skip"}'
        else jsonb_build_object(
            'starts_at', job.starts_at, 'max_runs', job.max_runs, 'misfire_grace_seconds', job.misfire_grace_seconds,
            'paused_at', job.paused_at, 'skip_runs', job.skip_runs, 'skip_until', job.skip_until, 'flow_key', job.flow_key,
            'resume_missed', job.resume_missed, 'jitter_seconds', job.jitter_seconds,
            'jitter_percent', job.jitter_percent, 'calendars', job.calendars, 'min_gap_seconds', job.min_gap_seconds,
            'dst_gap', job.dst_gap, 'dst_overlap', job.dst_overlap, 'max_attempts', job.max_attempts,
            'misfire', job.misfire, 'max_catchup', job.max_catchup, 'overlap', job.overlap, 'priority', job.priority,
            'on_closed', job.on_closed)
    end;

-- What the audit log keeps of a job, and what an edit may move as well.
create or replace function tocsin.audited_image(job tocsin.jobs, target jsonb)
returns jsonb language sql stable
    return tocsin.audited_columns(job, target)
        || jsonb_build_object('next_run', job.next_run, 'pending_runs', job.pending_runs);

-- What the audit log keeps of a job, its target included.
create or replace function tocsin.audited(job tocsin.jobs)
returns jsonb language sql stable
    return tocsin.audited_image(job, tocsin.audited_target(job.kind, job.target));

-- The columns of tocsin.audited, in order, that an edit changed, but for the target. What is equal and written
-- another way, as 5 and 5.0 are, was changed. Written out, as to compare two documents takes a query. No rows of one
-- column are compared: pg_dump writes these so that they mean something else, and the dump could not be restored.
create or replace function tocsin.audited_changes(was tocsin.jobs, is_now tocsin.jobs)
returns text[] language sql stable
    return array_remove(array[
        case when was.backoff_max_seconds is distinct from is_now.backoff_max_seconds
            or scale(was.backoff_max_seconds) is distinct from scale(is_now.backoff_max_seconds) then 'backoff_max_seconds' end,
        case when was.backoff_seconds is distinct from is_now.backoff_seconds
            or scale(was.backoff_seconds) is distinct from scale(is_now.backoff_seconds) then 'backoff_seconds' end,
        case when was.calendars is distinct from is_now.calendars then 'calendars' end,
        case when was.cron is distinct from is_now.cron then 'cron' end,
        case when was.description is distinct from is_now.description then 'description' end,
        case when was.dst_gap is distinct from is_now.dst_gap then 'dst_gap' end,
        case when was.dst_overlap is distinct from is_now.dst_overlap then 'dst_overlap' end,
        case when was.ends_at is distinct from is_now.ends_at then 'ends_at' end,
        case when was.every_seconds is distinct from is_now.every_seconds
            or scale(was.every_seconds) is distinct from scale(is_now.every_seconds) then 'every_seconds' end,
        case when was.flow_key is distinct from is_now.flow_key then 'flow_key' end,
        case when was.jitter_percent is distinct from is_now.jitter_percent
            or scale(was.jitter_percent) is distinct from scale(is_now.jitter_percent) then 'jitter_percent' end,
        case when was.jitter_seconds is distinct from is_now.jitter_seconds
            or scale(was.jitter_seconds) is distinct from scale(is_now.jitter_seconds) then 'jitter_seconds' end,
        case when was.kind is distinct from is_now.kind then 'kind' end,
        case when was.max_attempts is distinct from is_now.max_attempts then 'max_attempts' end,
        case when was.max_catchup is distinct from is_now.max_catchup then 'max_catchup' end,
        case when was.max_runs is distinct from is_now.max_runs then 'max_runs' end,
        case when was.metadata::text <> is_now.metadata::text then 'metadata' end,
        case when was.min_gap_seconds is distinct from is_now.min_gap_seconds
            or scale(was.min_gap_seconds) is distinct from scale(is_now.min_gap_seconds) then 'min_gap_seconds' end,
        case when was.misfire is distinct from is_now.misfire then 'misfire' end,
        case when was.misfire_grace_seconds is distinct from is_now.misfire_grace_seconds
            or scale(was.misfire_grace_seconds) is distinct from scale(is_now.misfire_grace_seconds) then 'misfire_grace_seconds' end,
        case when was.name is distinct from is_now.name then 'name' end,
        case when was.next_run is distinct from is_now.next_run then 'next_run' end,
        case when was.on_closed is distinct from is_now.on_closed then 'on_closed' end,
        case when was.overlap is distinct from is_now.overlap then 'overlap' end,
        case when was.paused_at is distinct from is_now.paused_at then 'paused_at' end,
        case when was.pending_runs is distinct from is_now.pending_runs then 'pending_runs' end,
        case when was.priority is distinct from is_now.priority then 'priority' end,
        case when was.resume_missed is distinct from is_now.resume_missed then 'resume_missed' end,
        case when was.run_at is distinct from is_now.run_at then 'run_at' end,
        case when was.skip_runs is distinct from is_now.skip_runs then 'skip_runs' end,
        case when was.skip_until is distinct from is_now.skip_until then 'skip_until' end,
        case when was.starts_at is distinct from is_now.starts_at then 'starts_at' end,
        case when was.tags is distinct from is_now.tags then 'tags' end,
        case when was.timeout_seconds is distinct from is_now.timeout_seconds
            or scale(was.timeout_seconds) is distinct from scale(is_now.timeout_seconds) then 'timeout_seconds' end,
        case when was.timezone is distinct from is_now.timezone then 'timezone' end], null);

-- What the audit log keeps of one such column: an edit changes few, and to make all of them takes five times as long.
create or replace function tocsin.audited_value(job tocsin.jobs, kept text)
returns jsonb language sql stable
    return case kept
        when 'backoff_max_seconds' then to_jsonb(job.backoff_max_seconds)
        when 'backoff_seconds' then to_jsonb(job.backoff_seconds)
        when 'calendars' then to_jsonb(job.calendars)
        when 'cron' then to_jsonb(job.cron)
        when 'description' then to_jsonb(tocsin.audited_text(job.description))
        when 'dst_gap' then to_jsonb(job.dst_gap)
        when 'dst_overlap' then to_jsonb(job.dst_overlap)
        when 'ends_at' then to_jsonb(job.ends_at)
        when 'every_seconds' then to_jsonb(job.every_seconds)
        when 'flow_key' then to_jsonb(job.flow_key)
        when 'jitter_percent' then to_jsonb(job.jitter_percent)
        when 'jitter_seconds' then to_jsonb(job.jitter_seconds)
        when 'kind' then to_jsonb(job.kind)
        when 'max_attempts' then to_jsonb(job.max_attempts)
        when 'max_catchup' then to_jsonb(job.max_catchup)
        when 'max_runs' then to_jsonb(job.max_runs)
        when 'metadata' then tocsin.audited_metadata(job.metadata)
        when 'min_gap_seconds' then to_jsonb(job.min_gap_seconds)
        when 'misfire' then to_jsonb(job.misfire)
        when 'misfire_grace_seconds' then to_jsonb(job.misfire_grace_seconds)
        when 'name' then to_jsonb(job.name)
        when 'next_run' then to_jsonb(job.next_run)
        when 'on_closed' then to_jsonb(job.on_closed)
        when 'overlap' then to_jsonb(job.overlap)
        when 'paused_at' then to_jsonb(job.paused_at)
        when 'pending_runs' then to_jsonb(job.pending_runs)
        when 'priority' then to_jsonb(job.priority)
        when 'resume_missed' then to_jsonb(job.resume_missed)
        when 'run_at' then to_jsonb(job.run_at)
        when 'skip_runs' then to_jsonb(job.skip_runs)
        when 'skip_until' then to_jsonb(job.skip_until)
        when 'starts_at' then to_jsonb(job.starts_at)
        when 'tags' then to_jsonb(job.tags)
        when 'timeout_seconds' then to_jsonb(job.timeout_seconds)
        when 'timezone' then to_jsonb(job.timezone)
    end;

drop function if exists tocsin.audited_unchanged(tocsin.jobs, tocsin.jobs);

-- The entry of a creation is no row at first: its number and author are kept in the job, whose first change, or
-- deletion, writes the entry. The list of changes shows both kinds alike.
-- An edit sets creation to null, and changes edited_at, which has the trigger write the entry.
-- The triggers write with their owner's rights: a role that may change a job needs no right to the log.
create or replace function tocsin.created_image(job tocsin.jobs)
returns jsonb language sql stable
    return tocsin.audited_columns(job, tocsin.audited_target(job.kind, job.target));

-- Fills in who created a job and when, and refuses to have that rewritten.
create or replace function tocsin.refuse_another_creation()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform tocsin.refuse('created_by', 'and what belongs to it are written once',
        'Leave creation and created_at to created_with as they are.');
end $$;

create or replace trigger jobs_050_keep_creation
    before update of creation, created_at, created_by, created_as, created_with on tocsin.jobs
    for each row
    when (row(new.creation, new.created_at, new.created_by, new.created_as, new.created_with)
          is distinct from row(
              case when new.creation is not null or new.edited_at is not distinct from old.edited_at
                  then old.creation end,
              old.created_at, old.created_by, old.created_as, old.created_with))
    execute function tocsin.refuse_another_creation();

-- For each row, and not for all that a statement edits: to keep those would cost whatever updates jobs, claims and
-- settlements too. So every step is an expression, but for the one INSERT, and one where the target changed.
create or replace function tocsin.audit_changed_job()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    creates constant boolean := old.creation is not null and new.creation is null;
    changes text[];
    parts text[];
    kept text;
    target_was jsonb;
    target_is jsonb;
    created jsonb;
    edit bigint;
    actor text;
    was jsonb := '{}';
    is_now jsonb := '{}';
begin
    if new.run_of is not null then
        return null;  -- its job has the entry, with the request
    end if;
    if not tocsin.in_bulk_step() then
        changes := tocsin.audited_changes(old, new);
        foreach kept in array changes loop
            was := was || jsonb_build_object(kept, tocsin.audited_value(old, kept));
            is_now := is_now || jsonb_build_object(kept, tocsin.audited_value(new, kept));
        end loop;
        if row(old.target)::record *<> row(new.target)::record then
            parts := array(
                select 'target.' || left(key, 200)
                from jsonb_each(old.target) full join jsonb_each(new.target) as other using (key)
                where row(jsonb_each.value)::record *<> row(other.value)::record order by key);
            target_was := tocsin.audited_target(old.kind, old.target);
            target_is := tocsin.audited_target(new.kind, new.target);
            was := was || jsonb_build_object('target', target_was);
            is_now := is_now || jsonb_build_object('target', target_is);
        end if;
    end if;
    if was <> '{}' then
        edit := nextval('tocsin.audit_log_id_seq');
        actor := tocsin.actor();
        changes := (changes || parts)[1:100];
    end if;
    if creates then
        target_was := coalesce(target_was, tocsin.audited_target(old.kind, old.target));
        created := tocsin.audited_columns(old, target_was);
    elsif edit is null then
        return null;
    end if;
    insert into tocsin.audit_log (
        id, at, actor, db_user, program, action, entity, entity_id, entity_name, changed, before, after)
    overriding system value
    select * from (values
        (case when creates then old.creation end, old.created_at, old.created_by, old.created_as, old.created_with,
            'create', 'job', old.id, old.name, null, null, created),
        (edit, clock_timestamp(), actor, session_user, nullif(current_setting('application_name', true), ''),
            'update', 'job', new.id, new.name, changes, was, is_now)) as entry (id)
    where entry.id is not null;
    return null;
end $$;

-- A cancellation changes nothing that is in the images above, and a run beside the plan has no entries: the job
-- gets one. With the rights of tocsin.free_lease, which calls this: nobody else has any to the log.
create or replace function tocsin.audit_cancellation(held tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tocsin.in_bulk_step() then
        return;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    select 'update', 'job', coalesce(held.run_of, held.id), coalesce(held.name, j.name), array['execution'],
        jsonb_build_object('execution', jsonb_build_object('id', held.execution_id, 'outcome', null)),
        jsonb_build_object('execution', jsonb_build_object('id', held.execution_id, 'outcome', 'cancelled'))
    from (select) as one left join tocsin.jobs j on j.id = held.run_of;
end $$;

-- Every edit changes edited_at; no claim, settlement or plan of an instance does.
create or replace trigger jobs_800_audit_update after update on tocsin.jobs
    for each row
    when (new.edited_at is distinct from old.edited_at)
    execute function tocsin.audit_changed_job();

-- Whether the deletion of a job is housekeeping: a one-off that ended more than a day ago.
create or replace function tocsin.is_tidied(job tocsin.jobs)
returns boolean language sql stable
    return job.run_at is not null and job.next_run is null and job.pending_runs = 0
        and (job.locked_until is null
            or (job.execution_id is null and job.locked_until < statement_timestamp()))  -- see tocsin.cancel
        and coalesce(job.last_finished_at < statement_timestamp() - interval '1 day', false);

-- Writes the deletions of jobs into the audit log.
-- The deletion of a job that ended more than a day ago is housekeeping, as tocsin.prune does it, and has no entry;
-- the job's earlier entries stay. The entry of its creation is written while executions of that day are kept. The
-- trigger fires once for all rows that a statement deletes, which may be thousands.
create or replace function tocsin.audit_deleted_jobs()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    insert into tocsin.audit_log (
        id, at, actor, db_user, program, action, entity, entity_id, entity_name, after)
    overriding system value
    select creation, created_at, created_by, created_as, created_with,
        'create', 'job', id, name, tocsin.audited_columns(row(deleted.*)::tocsin.jobs, target_kept)
    from deleted cross join lateral tocsin.audited_targets(kind, target) as target_kept
    where creation is not null
      and (not tocsin.is_tidied(row(deleted.*)::tocsin.jobs)
          or to_regclass('tocsin.executions_' || to_char(created_at at time zone 'UTC', 'YYYYMMDD')) is not null);
    if tocsin.in_bulk_step() then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, before)
    select 'delete', 'job', id, name, tocsin.audited(row(deleted.*)::tocsin.jobs)
    from deleted
    where run_of is null and not tocsin.is_tidied(row(deleted.*)::tocsin.jobs);
    return null;
end $$;

create or replace trigger jobs_800_audit_delete after delete on tocsin.jobs
    referencing old table as deleted
    for each statement execute function tocsin.audit_deleted_jobs();

-- What the audit log keeps of the limits of an API key: those that it has.
create or replace function tocsin.audited_limits(key tocsin.api_keys)
returns jsonb language sql immutable
    return jsonb_strip_nulls(jsonb_build_object(
        'max_jobs', key.max_jobs, 'min_interval_seconds', key.min_interval_seconds,
        'allowed_hosts', key.allowed_hosts, 'default_ends_in_seconds', key.default_ends_in_seconds));

-- API keys, without their digests and the time of their last use.
create or replace function tocsin.audit_key()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    was jsonb;
    is_now jsonb;
begin
    if tg_op <> 'INSERT' then
        was := jsonb_build_object('name', old.name, 'prefix', old.prefix, 'scopes', old.scopes,
            'expires_at', old.expires_at, 'revoked_at', old.revoked_at)
            || tocsin.audited_limits(old);
    end if;
    if tg_op <> 'DELETE' then
        is_now := jsonb_build_object('name', new.name, 'prefix', new.prefix, 'scopes', new.scopes,
            'expires_at', new.expires_at, 'revoked_at', new.revoked_at)
            || tocsin.audited_limits(new);
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'key', coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op = 'UPDATE' then array(
            select key from jsonb_each(was) full join jsonb_each(is_now) as other using (key)
            where jsonb_each.value is distinct from other.value
            union all select 'hash' where new.hash <> old.hash order by 1) end,
        was, is_now);
    return null;
end $$;

create or replace trigger api_keys_800_audit after insert or delete on tocsin.api_keys
    for each row execute function tocsin.audit_key();
create or replace trigger api_keys_800_audit_update after update on tocsin.api_keys
    for each row
    when (row(new.name, new.prefix, new.hash, new.scopes, new.expires_at, new.revoked_at,
              new.max_jobs, new.min_interval_seconds, new.allowed_hosts, new.default_ends_in_seconds)
          is distinct from row(old.name, old.prefix, old.hash, old.scopes, old.expires_at, old.revoked_at,
              old.max_jobs, old.min_interval_seconds, old.allowed_hosts, old.default_ends_in_seconds))
    execute function tocsin.audit_key();

-- Named secrets, by name and hosts only: not even the encrypted value is kept. To encrypt a value anew is no change.
create or replace function tocsin.audit_secret()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'secret', coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op = 'UPDATE' then array_remove(array[
            case when new.hosts <> old.hosts then 'hosts' end,
            case when new.updated_at <> old.updated_at then 'value' end], null) end,
        case when tg_op <> 'INSERT' then jsonb_build_object('hosts', old.hosts) end,
        case when tg_op <> 'DELETE' then jsonb_build_object('hosts', new.hosts) end);
    return null;
end $$;

create or replace trigger secrets_800_audit after insert or delete on tocsin.secrets
    for each row execute function tocsin.audit_secret();
create or replace trigger secrets_800_audit_update after update on tocsin.secrets
    for each row
    when (row(new.name, new.hosts, new.updated_at)
          is distinct from row(old.name, old.hosts, old.updated_at))
    execute function tocsin.audit_secret();

-- Other roles have no right to rewrite the log; this trigger keeps the owner from doing so by mistake. Pruning may
-- delete entries that are older than the shortest retention.
create or replace function tocsin.refuse_rewriting()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = 'insufficient_privilege',
        message = 'tocsin.audit_log is append-only', hint = 'tocsin.prune removes what is old.';
end $$;

create or replace trigger audit_log_append_only before update or truncate on tocsin.audit_log
    for each statement execute function tocsin.refuse_rewriting();
create or replace trigger audit_log_keep before delete on tocsin.audit_log
    for each row when (old.at > clock_timestamp() - interval '1 day')
    execute function tocsin.refuse_rewriting();

comment on function tocsin.audited_origin(url text) is
    'A URL up to its path; null: it has an @, and a password may end anywhere before that. Cut out before it is matched: to match the rest of it as well would take five times as long.';
comment on function tocsin.audited_part(value jsonb, rule jsonb) is
    'Only those parts of a target are kept that its kind declares as shown, none of which can be secret: a short value as a whole, one of a few texts, or the part of a URL before its path. rule: what the kind declares of this one.';
comment on function tocsin.audited_targets(kind text, target jsonb) is
    'What the audit log keeps of a target. Of a kind that no instance has recorded, no value.';
comment on function tocsin.audited_target(kind text, target jsonb) is
    'What the audit log keeps of one target, by one short query: where an edit has an entry for each row, to set up that of tocsin.audited_targets took longer than the rest of the entry.';
comment on function tocsin.audited_text(value text) is
    'Of a long value the log keeps its beginning or length, and a hash by which a change shows.';
comment on function tocsin.audited_metadata(value jsonb) is
    'What the audit log keeps of metadata: short ones as they are, of long ones their length and a hash.';
comment on function tocsin.audited_columns(job tocsin.jobs, target jsonb) is
    'The columns of a job that people decide, without those that change with every run. They are listed, so that a new column is kept by decision only. `target`: the result of `audited_target`. Those that most jobs leave as they come are written down once, in half of the time.';
comment on function tocsin.audited_image(job tocsin.jobs, target jsonb) is
    'What the audit log keeps of a job, and what an edit may move as well.';
comment on function tocsin.audited(job tocsin.jobs) is
    'What the audit log keeps of a job, its target included.';
comment on function tocsin.audited_changes(was tocsin.jobs, is_now tocsin.jobs) is
    'The columns of tocsin.audited, in order, that an edit changed, but for the target. What is equal and written another way, as 5 and 5.0 are, was changed. Written out, as to compare two documents takes a query. No rows of one column are compared: pg_dump writes these so that they mean something else, and the dump could not be restored.';
comment on function tocsin.audited_value(job tocsin.jobs, kept text) is
    'What the audit log keeps of one such column: an edit changes few, and to make all of them takes five times as long.';
comment on function tocsin.created_image(job tocsin.jobs) is
    'The entry of a creation is no row at first: its number and author are kept in the job, whose first change, or deletion, writes the entry. The list of changes shows both kinds alike. An edit sets creation to null, and changes edited_at, which has the trigger write the entry. The triggers write with their owner''s rights: a role that may change a job needs no right to the log.';
comment on function tocsin.refuse_another_creation() is
    'Fills in who created a job and when, and refuses to have that rewritten.';
comment on function tocsin.audit_changed_job() is
    'For each row, and not for all that a statement edits: to keep those would cost whatever updates jobs, claims and settlements too. So every step is an expression, but for the one INSERT, and one where the target changed.';
comment on function tocsin.audit_cancellation(held tocsin.jobs) is
    'A cancellation changes nothing that is in the images above, and a run beside the plan has no entries: the job gets one. With the rights of tocsin.free_lease, which calls this: nobody else has any to the log.';
comment on function tocsin.is_tidied(job tocsin.jobs) is
    'Whether the deletion of a job is housekeeping: a one-off that ended more than a day ago.';
comment on function tocsin.audit_deleted_jobs() is
    'Writes the deletions of jobs into the audit log. The deletion of a job that ended more than a day ago is housekeeping, as tocsin.prune does it, and has no entry; the job''s earlier entries stay. The entry of its creation is written while executions of that day are kept. The trigger fires once for all rows that a statement deletes, which may be thousands.';
comment on function tocsin.audited_limits(key tocsin.api_keys) is
    'What the audit log keeps of the limits of an API key: those that it has.';
comment on function tocsin.audit_key() is
    'API keys, without their digests and the time of their last use.';
comment on function tocsin.audit_secret() is
    'Named secrets, by name and hosts only: not even the encrypted value is kept. To encrypt a value anew is no change.';
comment on function tocsin.refuse_rewriting() is
    'Other roles have no right to rewrite the log; this trigger keeps the owner from doing so by mistake. Pruning may delete entries that are older than the shortest retention.';
-- db/triggers/7_bulk.sql: actions on many jobs or executions.

-- Refuses a bulk action, naming a column or a key of its filter or options.
create or replace function tocsin.refuse_bulk(field text, message text, hint text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = 'bulk_actions',
        column = field, message = field || ' ' || message, hint = hint;
end $$;

-- What actions take: whether their filter is one of jobs, and the options that they must and may have.
create or replace function tocsin.bulk_options(action text, out of_jobs boolean, out must text[], out may text[])
language sql immutable parallel safe
    return (
        not (action in ('replay', 'redrive')),
        case action when 'edit' then '{patch}'::text[] when 'backfill' then '{from,to}'::text[] else '{}'::text[] end,
        case
            when action = 'reschedule' then '{shift_seconds,at}'::text[]
            when action = 'skip' then '{runs,until}'::text[]
            when action = 'pause' then '{reason,until}'::text[]
            when action = 'resume' then '{missed}'::text[]
            when action = 'cancel' then '{retry}'::text[]
            when action in ('run', 'replay', 'redrive', 'backfill') then '{rate_per_second,overlap}'::text[]
            else '{}'::text[]
        end);

-- Judges the form of what a person asks for; an instance judges the values. What is kept by instances begins as the
-- defaults have it, whatever is given.
create or replace function tocsin.ask_bulk_action()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    takes record;
    known text[];
    unknown text;
    fresh tocsin.bulk_actions;
begin
    if num_nulls(new.filter, new.options) > 0 or jsonb_typeof(new.filter) <> 'object' then
        perform tocsin.refuse_bulk('filter', 'must be a JSON object', 'For example: {"tag": "billing"}');
    elsif jsonb_typeof(new.options) <> 'object' then
        perform tocsin.refuse_bulk('options', 'must be a JSON object', 'For example: {"rate_per_second": 5}');
    end if;
    select * into takes from tocsin.bulk_options(new.action);
    known := case when takes.of_jobs
        then '{all,tag,kind,job,state,name,q,last_outcome,failing,next_before}'::text[]
        else '{all,outcome,from,to,job,tag,kind,host,reason,status,late_by,slower_than,dead_letter}'::text[] end;
    unknown := (select min(key) from jsonb_object_keys(new.filter) as key where not key = any (known));
    if unknown is not null then
        perform tocsin.refuse_bulk('filter.' || left(unknown, 100), 'is no filter of this action',
            'There are: ' || array_to_string(known, ', ') || '.');
    end if;
    if not exists (select from jsonb_each(new.filter) where value not in ('null', 'false') or (key = 'failing' and value = 'false')) then
        perform tocsin.refuse_bulk('filter', 'is empty', 'Write a filter, or {"all": true} if you mean all.');
    end if;
    unknown := (select min(key) from jsonb_object_keys(new.options) as key where not key = any (takes.must || takes.may));
    if unknown is not null then
        perform tocsin.refuse_bulk(left(unknown, 100), format('is no option of %s', new.action), 'Leave it out.');
    end if;
    unknown := (select min(key) from unnest(takes.must) as key where coalesce(new.options -> key, 'null') = 'null');
    if unknown is not null then
        perform tocsin.refuse_bulk(unknown, 'is missing', format('The action %s needs it.', new.action));
    end if;
    if new.action = 'skip' and num_nonnulls(nullif(new.options -> 'runs', 'null'), nullif(new.options -> 'until', 'null')) <> 1 then
        perform tocsin.refuse_bulk('runs', 'or until is needed, and not both',
            'Write how many runs to skip, or until when: {"runs": 1}.');
    end if;
    fresh.id := new.id;
    fresh.action := new.action;
    fresh.filter := new.filter;
    fresh.options := new.options;
    fresh.expected := new.expected;
    fresh.asked_at := clock_timestamp();
    fresh.asked_by := left(tocsin.actor(), 500);
    fresh.matched := 0;
    fresh.changed := 0;
    fresh.unchanged := 0;
    fresh.failed := 0;
    fresh.problems := '[]';
    fresh.limits := new.limits;
    return fresh;
end $$;

create or replace trigger bulk_actions_100_ask before insert on tocsin.bulk_actions
    for each row execute function tocsin.ask_bulk_action();

-- Writes the one entry of a bulk action in the audit log, and its end if a person cancels it, and wakes the instances.
-- Of what an edit writes into targets nothing is kept: its jobs may be of any kind.
create or replace function tocsin.tell_bulk_action()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    shown jsonb := new.options;
begin
    if tg_op = 'UPDATE' then
        insert into tocsin.audit_log (action, entity, entity_id, changed, before, after)
        values ('update', 'bulk', new.id, array['cancelled_at'],
            jsonb_build_object('cancelled_at', null),
            jsonb_build_object('cancelled_at', new.cancelled_at, 'matched', new.matched, 'changed', new.changed));
        return null;
    end if;
    if shown #> '{patch,target}' is not null then
        shown := jsonb_set(shown, '{patch,target}', '"***"');
    end if;
    if octet_length(shown::text) > 8192 then
        shown := to_jsonb(format('… (%s bytes, md5 %s)', octet_length(shown::text), md5(shown::text)));
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, changed, after)
    values ('create', 'bulk', new.id, null,
        jsonb_build_object('action', new.action, 'filter', new.filter, 'options', shown, 'expected', new.expected));
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_bulk', '');
    end if;
    return null;
end $$;

create or replace trigger bulk_actions_800_tell after insert on tocsin.bulk_actions
    for each row execute function tocsin.tell_bulk_action();
create or replace trigger bulk_actions_800_tell_update after update on tocsin.bulk_actions
    for each row when (new.cancelled_at is not null and old.cancelled_at is null)
    execute function tocsin.tell_bulk_action();

-- Whether this transaction is a step of a bulk action, whose changes its one entry in the audit log stands for. The
-- setting alone, which anybody can set, is not believed: the transaction must have written the row of an action that
-- an instance works on. Only who may update tocsin.bulk_actions, which people need not, can do that.
create or replace function tocsin.in_bulk_step()
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    setting constant text := current_setting('tocsin.bulk', true);
begin
    if coalesce(setting, '') = '' then
        return false;
    end if;
    return exists (
        select from tocsin.bulk_actions b
        where b.id::text = setting and b.ended_at is null and b.locked_by is not null
          and b.xmin = pg_current_xact_id()::xid);
end $$;

-- Asks for an action on all jobs, or executions, that a filter finds, and returns the id of the bulk action, whose row says how
-- it goes: select tocsin.bulk('pause', '{"tag": "billing"}'); table tocsin.bulk_actions; Actions: edit, delete, pause,
-- resume, run, skip, unskip, reschedule, cancel, replay, redrive and backfill. An unknown action, filter or option is refused
-- (23514). Instances carry it out in steps after COMMIT.
create or replace function tocsin.bulk(action text, filter jsonb, options jsonb default '{}')
returns uuid language sql set search_path = pg_catalog, pg_temp as $$
    insert into tocsin.bulk_actions (action, filter, options)
    values (bulk.action, bulk.filter, bulk.options) returning id
$$;

-- Carries out the runs that the schedule of a job, given by its name or id, has in [since, until), and returns the id of the
-- bulk action: select tocsin.backfill('nightly-report', '2030-02-01', '2030-02-08'); rate_per_second: how many runs are asked
-- for in a second; null: no limit. overlap: as with tocsin.run_now.
create or replace function tocsin.backfill(
    job text, since timestamptz, until timestamptz, rate_per_second numeric default null, overlap text default null)
returns uuid language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tocsin.job_id(job) is null then
        perform tocsin.refuse_bulk('filter.job', format('is no job: %L', job), 'Write its name or its id.');
    end if;
    return tocsin.bulk('backfill', jsonb_build_object('job', tocsin.job_id(job)), jsonb_strip_nulls(
        jsonb_build_object('from', since, 'to', until, 'rate_per_second', rate_per_second, 'overlap', overlap)));
end $$;

-- Ends a bulk action before its next step, as a person sets cancelled_at; what is done stays done. Nothing else of that
-- is a write: see tocsin.in_bulk_step.
create or replace function tocsin.end_bulk_action()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.cancelled_at is null or old.ended_at is not null then
        return null;
    end if;
    new.cancelled_at := clock_timestamp();
    new.ended_at := new.cancelled_at;
    return new;
end $$;

create or replace trigger bulk_actions_100_cancel before update of cancelled_at on tocsin.bulk_actions
    for each row execute function tocsin.end_bulk_action();

-- Cancels a bulk action and returns it; no row: it has ended, or there is none.
create or replace function tocsin.cancel_bulk(bulk_id uuid)
returns setof tocsin.bulk_actions language sql set search_path = pg_catalog, pg_temp as $$
    update tocsin.bulk_actions b set cancelled_at = clock_timestamp() where b.id = cancel_bulk.bulk_id returning b.*
$$;

-- How a bulk action stands, in one word.
create or replace function tocsin.state(bulk_action tocsin.bulk_actions)
returns text language sql stable
    return case
        when bulk_action.cancelled_at is not null then 'cancelled'
        when bulk_action.error is not null then 'failed'
        when bulk_action.ended_at is not null then 'finished'
        when bulk_action.locked_until > now() then 'running'
        else 'waiting'
    end;

-- Whether an execution is the last of its run: no later one is on record. Its job's later executions are read for
-- that, as an index by runs would cost every settlement.
create or replace function tocsin.is_last_of_run(execution tocsin.executions)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return not exists (
        select from tocsin.executions later
        where later.job_id = execution.job_id and later.id > execution.id
          and later.scheduled_for = execution.scheduled_for);
end $$;

-- Whether a run of a job is still to be carried out: of its plan, as a retry or late, or asked for beside that.
create or replace function tocsin.is_pending_run(job_id uuid, run timestamptz)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
            select from tocsin.jobs j
            where j.id = is_pending_run.job_id and j.next_run is not null
              and (j.scheduled_for = is_pending_run.run or j.claimed_for = is_pending_run.run))
        or exists (
            select from tocsin.jobs r
            where r.run_of = is_pending_run.job_id and r.scheduled_for = is_pending_run.run);
end $$;

-- Whether an execution is a dead letter: the last one of a run that was given up without success, of a job that is
-- still there. A run that was missed, or that a person cancelled, was not given up.
create or replace function tocsin.is_dead_letter(execution tocsin.executions)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return execution.outcome in ('failed', 'timed_out', 'lost')
        and exists (select from tocsin.jobs j where j.id = execution.job_id)
        and not tocsin.is_pending_run(execution.job_id, execution.scheduled_for)
        and tocsin.is_last_of_run(execution);
end $$;

-- The dead letters: select * from tocsin.dead_letters order by id desc limit 20;
-- To run them again: select tocsin.bulk('redrive', '{"reason": "connect"}');
create or replace view tocsin.dead_letters as
    select x.id, x.job_id, j.name as job_name, j.tags, x.kind, x.scheduled_for, x.attempt, x.outcome, x.reason,
        x.started_at, x.finished_at, x.status_code, x.response, x.error
    from tocsin.executions x join tocsin.jobs j on j.id = x.job_id
    where x.outcome in ('failed', 'timed_out', 'lost') and x.outcome <> 'succeeded' and tocsin.is_dead_letter(x);

comment on function tocsin.refuse_bulk(field text, message text, hint text) is
    'Refuses a bulk action, naming a column or a key of its filter or options.';
comment on function tocsin.bulk_options(action text, out of_jobs boolean, out must text[], out may text[]) is
    'What actions take: whether their filter is one of jobs, and the options that they must and may have.';
comment on function tocsin.ask_bulk_action() is
    'Judges the form of what a person asks for; an instance judges the values. What is kept by instances begins as the defaults have it, whatever is given.';
comment on function tocsin.tell_bulk_action() is
    'Writes the one entry of a bulk action in the audit log, and its end if a person cancels it, and wakes the instances. Of what an edit writes into targets nothing is kept: its jobs may be of any kind.';
comment on function tocsin.in_bulk_step() is
    'Whether this transaction is a step of a bulk action, whose changes its one entry in the audit log stands for. The setting alone, which anybody can set, is not believed: the transaction must have written the row of an action that an instance works on. Only who may update tocsin.bulk_actions, which people need not, can do that.';
comment on function tocsin.bulk(action text, filter jsonb, options jsonb) is
    'Asks for an action on all jobs, or executions, that a filter finds, and returns the id of the bulk action, whose row says how it goes: select tocsin.bulk(''pause'', ''{"tag": "billing"}''); table tocsin.bulk_actions; Actions: edit, delete, pause, resume, run, skip, unskip, reschedule, cancel, replay, redrive and backfill. An unknown action, filter or option is refused (23514). Instances carry it out in steps after COMMIT.';
comment on function tocsin.backfill(job text, since timestamptz, until timestamptz, rate_per_second numeric, overlap text) is
    'Carries out the runs that the schedule of a job, given by its name or id, has in [since, until), and returns the id of the bulk action: select tocsin.backfill(''nightly-report'', ''2030-02-01'', ''2030-02-08''); rate_per_second: how many runs are asked for in a second; null: no limit. overlap: as with tocsin.run_now.';
comment on function tocsin.end_bulk_action() is
    'Ends a bulk action before its next step, as a person sets cancelled_at; what is done stays done. Nothing else of that is a write: see tocsin.in_bulk_step.';
comment on function tocsin.cancel_bulk(bulk_id uuid) is
    'Cancels a bulk action and returns it; no row: it has ended, or there is none.';
comment on function tocsin.state(bulk_action tocsin.bulk_actions) is
    'How a bulk action stands, in one word.';
comment on function tocsin.is_last_of_run(execution tocsin.executions) is
    'Whether an execution is the last of its run: no later one is on record. Its job''s later executions are read for that, as an index by runs would cost every settlement.';
comment on function tocsin.is_pending_run(job_id uuid, run timestamptz) is
    'Whether a run of a job is still to be carried out: of its plan, as a retry or late, or asked for beside that.';
comment on function tocsin.is_dead_letter(execution tocsin.executions) is
    'Whether an execution is a dead letter: the last one of a run that was given up without success, of a job that is still there. A run that was missed, or that a person cancelled, was not given up.';
comment on view tocsin.dead_letters is
    'The dead letters: select * from tocsin.dead_letters order by id desc limit 20; To run them again: select tocsin.bulk(''redrive'', ''{"reason": "connect"}'');';
-- db/triggers/7_calendars.sql: named sets of time, which jobs keep to or avoid.

-- A job names calendars; a name behind a "!" is one that it avoids. It is open while all the others have the
-- time, and none of these does. The calendars judge a run when its time comes, by what they are then: nothing of
-- the plan depends on them but the instant to which runs were put off, see app/scheduler/calendars.py.

-- Refuses the parts of a calendar that are not written as they should be; what a zone, a country or a rule means
-- an instance finds out, and says in error. What is changed is worked out anew; until then the old times count.
create or replace function tocsin.check_calendar()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    part text;
begin
    new.timezone := coalesce(new.timezone, 'UTC');
    if num_nulls(new.name, new.dates, new.weekly, new.holidays, new.rrules) > 0 then
        perform tocsin.refuse(case when new.name is null then 'name' when new.dates is null then 'dates'
                when new.weekly is null then 'weekly' when new.holidays is null then 'holidays' else 'rrules' end,
            'is missing', 'Write a name, and empty lists for what the calendar has none of.');
    elsif new.name !~ ('^[^!,/[:cntrl:]' || chr(128) || '-' || chr(159) || '][^,/[:cntrl:]' || chr(128) || '-' || chr(159) || ']{0,99}$') then
        perform tocsin.refuse('name', 'is empty, too long or has a slash, a comma or a control character, or begins with "!"',
            'Use 1 to 100 characters, for example business-hours.');
    end if;
    if tg_op = 'UPDATE' then
        if new.name <> old.name and exists (select from tocsin.job_calendars u where u.calendar = old.name) then
            perform tocsin.refuse('name', 'is that of a calendar which jobs use', 'Make another calendar, and let the jobs use that.');
        end if;
        if new.times is distinct from old.times and new.worked_out_at is not null then
            new.replan_after := '00000000-0000-0000-0000-000000000000';
            perform pg_notify('tocsin_calendars', '');
        end if;
        if row(new.timezone, new.dates, new.weekly, new.holidays, new.rrules, new.ical)
            is not distinct from row(old.timezone, old.dates, old.weekly, old.holidays, old.rrules, old.ical) then
            return new;
        end if;
        new.updated_at := clock_timestamp();
    else
        new.times := null;
        new.replan_after := null;
    end if;
    perform tocsin.check_timezone(new.timezone);
    if cardinality(new.dates) + cardinality(new.weekly) + cardinality(new.holidays) + cardinality(new.rrules) = 0 and new.ical is null then
        perform tocsin.refuse('dates', 'or another part is missing', 'Write dates, weekly, holidays, rrules or ical.');
    elsif cardinality(new.dates) > 2000 then
        perform tocsin.refuse('dates', 'has more than 2000 entries', 'Make several calendars of it.');
    elsif cardinality(new.weekly) > 20 then
        perform tocsin.refuse('weekly', 'has more than 20 entries', 'Make several calendars of it.');
    elsif cardinality(new.holidays) > 20 then
        perform tocsin.refuse('holidays', 'has more than 20 entries', 'Make several calendars of it.');
    elsif cardinality(new.rrules) > 50 then
        perform tocsin.refuse('rrules', 'has more than 50 entries', 'Make several calendars of it.');
    elsif octet_length(new.ical) > 262144 then
        perform tocsin.refuse('ical', 'has more than 262144 bytes', 'Make several calendars of it.');
    elsif length(new.description) > 10000 then
        perform tocsin.refuse('description', 'is too long', 'Use at most 10000 characters.');
    end if;
    foreach part in array new.dates loop
        begin
            if part !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}(/[0-9]{4}-[0-9]{2}-[0-9]{2})?$' then
                raise invalid_datetime_format;
            end if;
            if split_part(part, '/', 1)::date > reverse(split_part(reverse(part), '/', 1))::date then
                raise invalid_datetime_format;
            end if;
        exception when others then
            perform tocsin.refuse('dates', format('has %L, which is no day', left(part, 64)),
                'Write days such as 2026-12-24, or 2026-12-24/2027-01-02.');
        end;
    end loop;
    foreach part in array new.weekly loop
        if part !~ '^([*]|(MON|TUE|WED|THU|FRI|SAT|SUN)([-,](MON|TUE|WED|THU|FRI|SAT|SUN))*)( [0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9](,[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9])*)?$' then
            perform tocsin.refuse('weekly', format('has %L, which has no days of the week and hours', left(part, 64)),
                'Write for example MON-FRI 09:00-17:00, or SAT,SUN.');
        end if;
    end loop;
    foreach part in array new.holidays loop
        if part !~ '^[A-Z]{2}(-[A-Z0-9]{1,4})?$' then
            perform tocsin.refuse('holidays', format('has %L, which is no country or part of one', left(part, 64)),
                'Write codes of ISO 3166, such as DE or US-CA.');
        end if;
    end loop;
    foreach part in array new.rrules loop
        if part !~ '^FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;[A-Z]+=[-+A-Z0-9,]+)*$' or part ~ 'COUNT=|BYHOUR=|BYMINUTE=|BYSECOND=' then
            perform tocsin.refuse('rrules', format('has %L, which is no rule for days', left(part, 64)),
                'Write for example FREQ=MONTHLY;BYDAY=-1FR, without COUNT and hours.');
        end if;
    end loop;
    if new.ical !~ '^[[:space:]]*BEGIN:VCALENDAR' then
        perform tocsin.refuse('ical', 'is no iCalendar file', 'Write the text from BEGIN:VCALENDAR to END:VCALENDAR.');
    end if;
    new.worked_out_at := null;
    new.error := null;
    perform pg_notify('tocsin_calendars', '');
    return new;
end $$;

create or replace trigger calendars_100_check before insert or update on tocsin.calendars
    for each row execute function tocsin.check_calendar();

-- A calendar that is used stays: its jobs would be invalid without it.
create or replace function tocsin.keep_used_calendar()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    used record;
begin
    select count(*) as many, min(coalesce(j.name, j.id::text)) as called into used
    from (select u.job_id from tocsin.job_calendars u where u.calendar = old.name limit 1000) as u
    join tocsin.jobs j on j.id = u.job_id;
    if used.many > 0 then
        perform tocsin.refuse('name', format('is used by %s%s, such as %L', used.many,
                case when used.many > 1 then ' jobs' else ' job' end, used.called),
            'Take it out of their calendars first.');
    elsif exists (select from tocsin.maintenance w where w.calendar = old.name) then
        perform tocsin.refuse('name', 'is that of a calendar which a window of maintenance has', 'End that first.');
    end if;
    delete from tocsin.job_calendars u where u.calendar = old.name;  -- of jobs that were truncated
    return old;
end $$;

create or replace trigger calendars_050_keep_used before delete on tocsin.calendars
    for each row execute function tocsin.keep_used_calendar();

-- The time in which a job with these calendars is open; null: one of them is gone, or not worked out.
create or replace function tocsin.open_times(calendars text[])
returns tstzmultirange language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    open tstzmultirange := '{(,)}';
    part tstzmultirange;
    one text;
begin
    foreach one in array coalesce(calendars, '{}') loop
        select c.times into part from tocsin.calendars c where c.name = ltrim(one, '!');
        if part is null then
            return null;
        end if;
        open := case when one like '!%' then open - part else open * part end;
    end loop;
    return open;
end $$;

-- Until when a job with these calendars is closed at an instant; null: it is open; infinity: it does not open any more.
create or replace function tocsin.closed_until(calendars text[], at timestamptz)
returns timestamptz language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    open constant tstzmultirange := tocsin.open_times(calendars);
begin
    if open is null or at is null or open @> at then
        return null;
    end if;
    return coalesce(lower(open * tstzmultirange(tstzrange(at, null))), 'infinity');
end $$;

-- What keeps these calendars from being read, with its remedy; null: nothing does.
create or replace function tocsin.calendars_problem(calendars text[])
returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    one text;
    found_error text;
begin
    foreach one in array coalesce(calendars, '{}') loop
        select c.error into found_error from tocsin.calendars c where c.name = ltrim(one, '!');
        if not found then
            return format('calendars: no calendar has the name %L: make it, or take it out of the calendars of the job', ltrim(one, '!'));
        elsif found_error is not null then
            return format('calendars: the calendar %L cannot be used, correct it: %s', ltrim(one, '!'), left(found_error, 1000));
        end if;
    end loop;
    return null;
end $$;

-- Refuses calendars that there are not, and those that leave a job no time.
create or replace function tocsin.check_calendars()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one text;
begin
    if current_setting('tocsin.runs', true) = 'on' or new.run_of is not null then
        return new;
    elsif cardinality(new.calendars) = 0 then
        new.calendars := null;
        return new;
    end if;
    foreach one in array new.calendars loop
        if not exists (select from tocsin.calendars c where c.name = ltrim(one, '!')) then
            perform tocsin.refuse('calendars', format('has %L, which is no calendar', left(one, 120)),
                'Make it first, or write the name of one that there is, behind a "!" to avoid its time.');
        end if;
    end loop;
    if isempty(tocsin.open_times(new.calendars) * tstzmultirange(tstzrange(now(), null))) then
        perform tocsin.refuse('calendars', 'leave the job no time from now on',
            'Take one of them out, or change its times.');
    elsif new.on_closed = 'skip' and tocsin.closed_until(new.calendars, new.run_at) is not null then
        perform tocsin.refuse('calendars', 'are closed at run_at: the job would never run',
            'Write another run_at, or on_closed next_open.');
    end if;
    return new;
end $$;

create or replace trigger jobs_070_check_calendars before insert on tocsin.jobs
    for each row when (new.calendars is not null) execute function tocsin.check_calendars();
create or replace trigger jobs_071_check_calendars before update of calendars, on_closed, run_at on tocsin.jobs
    for each row when (new.calendars is not null and (new.calendars is distinct from old.calendars
        or new.on_closed is distinct from old.on_closed or new.run_at is distinct from old.run_at))
    execute function tocsin.check_calendars();

-- Keeps the list of which jobs use which calendars.
create or replace function tocsin.keep_job_calendars()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op <> 'INSERT' then
        delete from tocsin.job_calendars u where u.job_id = old.id;
    end if;
    if tg_op <> 'DELETE' and new.run_of is null then
        insert into tocsin.job_calendars (calendar, job_id)
        select distinct ltrim(one, '!'), new.id from unnest(new.calendars) as one;
    end if;
    return null;
end $$;

create or replace trigger jobs_840_keep_calendars after insert on tocsin.jobs
    for each row when (new.calendars is not null) execute function tocsin.keep_job_calendars();
create or replace trigger jobs_841_keep_calendars after update of calendars on tocsin.jobs
    for each row when (new.calendars is distinct from old.calendars) execute function tocsin.keep_job_calendars();
create or replace trigger jobs_842_keep_calendars after delete on tocsin.jobs
    for each row when (old.calendars is not null) execute function tocsin.keep_job_calendars();

-- Makes a calendar, or changes one: select tocsin.calendar('business-hours', weekly => '{MON-FRI 09:00-17:00}', timezone => 'Europe/Berlin');
create or replace function tocsin.calendar(
    name text, weekly text[] default '{}', dates text[] default '{}', holidays text[] default '{}',
    rrules text[] default '{}', ical text default null, timezone text default 'UTC', description text default null)
returns tocsin.calendars language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    made tocsin.calendars;
begin
    insert into tocsin.calendars as c (name, weekly, dates, holidays, rrules, ical, timezone, description)
    values (calendar.name, calendar.weekly, calendar.dates, calendar.holidays, calendar.rrules, calendar.ical,
        calendar.timezone, calendar.description)
    on conflict (name) do update
    set weekly = excluded.weekly, dates = excluded.dates, holidays = excluded.holidays, rrules = excluded.rrules,
        ical = excluded.ical, timezone = excluded.timezone, description = excluded.description
    returning c.* into made;
    return made;
end $$;

-- What the audit log keeps of a calendar.
create or replace function tocsin.calendar_image(calendar tocsin.calendars)
returns jsonb language sql stable
    return jsonb_build_object('description', tocsin.audited_text(calendar.description), 'timezone', calendar.timezone,
        'dates', tocsin.audited_metadata(to_jsonb(calendar.dates)), 'weekly', calendar.weekly, 'holidays', calendar.holidays,
        'rrules', calendar.rrules, 'ical', tocsin.audited_text(calendar.ical));

-- Writes the changes of calendars into the audit log.
create or replace function tocsin.audit_calendar()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was constant jsonb := case when tg_op <> 'INSERT' then tocsin.calendar_image(old) end;
    became constant jsonb := case when tg_op <> 'DELETE' then tocsin.calendar_image(new) end;
begin
    if was = became then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'calendar', coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op = 'UPDATE' then array(
            select e.key from jsonb_each(was) as e where e.value is distinct from became -> e.key order by 1) end,
        was, became);
    return null;
end $$;

create or replace trigger calendars_800_audit after insert or update or delete on tocsin.calendars
    for each row execute function tocsin.audit_calendar();

comment on function tocsin.check_calendar() is
    'Refuses the parts of a calendar that are not written as they should be; what a zone, a country or a rule means an instance finds out, and says in error. What is changed is worked out anew; until then the old times count.';
comment on function tocsin.keep_used_calendar() is
    'A calendar that is used stays: its jobs would be invalid without it.';
comment on function tocsin.open_times(calendars text[]) is
    'The time in which a job with these calendars is open; null: one of them is gone, or not worked out.';
comment on function tocsin.closed_until(calendars text[], at timestamptz) is
    'Until when a job with these calendars is closed at an instant; null: it is open; infinity: it does not open any more.';
comment on function tocsin.calendars_problem(calendars text[]) is
    'What keeps these calendars from being read, with its remedy; null: nothing does.';
comment on function tocsin.check_calendars() is
    'Refuses calendars that there are not, and those that leave a job no time.';
comment on function tocsin.keep_job_calendars() is
    'Keeps the list of which jobs use which calendars.';
comment on function tocsin.calendar(name text, weekly text[], dates text[], holidays text[], rrules text[], ical text, timezone text, description text) is
    'Makes a calendar, or changes one: select tocsin.calendar(''business-hours'', weekly => ''{MON-FRI 09:00-17:00}'', timezone => ''Europe/Berlin'');';
comment on function tocsin.calendar_image(calendar tocsin.calendars) is
    'What the audit log keeps of a calendar.';
comment on function tocsin.audit_calendar() is
    'Writes the changes of calendars into the audit log.';
-- db/triggers/7_cancel.sql: cuts an execution off that is under way.

-- The wait after an attempt (from 1) that is to be followed by another; jitter: from 0 to 1, varies it by 20 %.
-- As app/core/runs/retry.py has it.
create or replace function tocsin.backoff_seconds(attempt integer, backoff numeric, backoff_max numeric, jitter float8)
returns float8 language sql immutable parallel safe
    return least(backoff::float8 * power(2::float8, least(attempt - 1, 62)), backoff_max::float8)
        * (0.8 + 0.4 * jitter);

-- The execution under way of a job, or of a run beside its plan; null: there is none. Not inlined, as to plan the
-- subquery takes longer than to read a job.
create or replace function tocsin.execution_under_way(job tocsin.jobs)
returns bigint language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if job.execution_id is not null or (job.pending_runs = 0 and job.overlap <> 'allow_all') then
        return job.execution_id;
    end if;
    return (select max(r.execution_id) from tocsin.jobs r where r.run_of = job.id and r.execution_id is not null);
end $$;

-- Settles an execution that is under way as cancelled, whoever has its lease, and has the instance cut it off. Its
-- run is over, unless another attempt is asked for (retry) and max_attempts leaves one; that comes after the backoff.
-- What follows is not claimed before the holder has cut it off, or its lease has run out. The next run of a job
-- that recurs is planned by an instance, as SQL plans one-offs alone; a plan that was moved meanwhile stays.
-- Returns the execution, also of one that was cancelled before; no row, and a notice: it is not under way.
create or replace function tocsin.cancel(execution_id bigint, retry boolean default false)
returns setof tocsin.executions language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    held tocsin.jobs;
    moment timestamptz;
    moved boolean;
    again boolean;
    recurs boolean;
    ended text;
begin
    select * into held from tocsin.jobs j
    where j.locked_until is not null and j.execution_id = cancel.execution_id;
    if held.run_of is not null then  -- the job first, as everybody locks them in this order
        perform from tocsin.jobs j where j.id = held.run_of for no key update;
    end if;
    select * into held from tocsin.jobs j
    where j.id = held.id and j.execution_id = cancel.execution_id for no key update;
    if held.id is null then
        return query select x.* from tocsin.executions x
            where x.id = cancel.execution_id and x.outcome = 'cancelled' and x.reason in ('cancelled', 'overlap');
        if not found then
            select x.outcome into ended from tocsin.executions x where x.id = cancel.execution_id;
            raise notice 'execution % is not under way: %', execution_id,
                case when ended is null then 'there is no such execution, or it was pruned' else 'it ended as ' || ended end;
        end if;
        return;
    end if;
    moment := clock_timestamp();
    moved := held.attempt <> held.claimed_attempt;  -- by an edit, each of which begins at no attempt
    again := coalesce(retry, false) and held.claimed_attempt < held.max_attempts;
    recurs := held.run_at is null and held.run_of is null
        and (held.max_runs is null or held.runs + 1 < held.max_runs);
    begin
        perform set_config('tocsin.runs', 'on', true);  -- nothing of this is an edit
        if held.run_of is not null and not again and held.locked_until > moment then
            -- The row of the run goes: what is left of its lease keeps the plan and other runs waiting.
            update tocsin.jobs j set locked_until = held.locked_until, locked_by = held.locked_by
            where j.id = held.run_of and j.execution_id is null and j.overlap <> 'allow_all';
        end if;
        perform set_config('tocsin.cancelled', held.execution_id::text, true);
        update tocsin.jobs j
        set claimed_for = null,  -- half a lease, which tocsin.free_lease takes away
            next_run = case
                when moved then j.next_run
                when again then moment + interval '1 second' * tocsin.backoff_seconds(
                    held.claimed_attempt, held.backoff_seconds, held.backoff_max_seconds, random()) end,
            scheduled_for = case when moved then j.scheduled_for else held.claimed_for end,
            attempt = case when moved then j.attempt when again then held.claimed_attempt else 0 end,
            planned_at = case when not moved and not again and recurs then null else j.planned_at end,
            last_outcome = 'cancelled', last_finished_at = moment,
            runs = case when again then j.runs else j.runs + 1 end
        where j.id = held.id;
        if not found then  -- a trigger of users suppressed it: nothing is recorded either
            raise exception using errcode = 'TC001', message = 'suppressed';
        end if;
    exception when sqlstate 'TC001' then
        raise notice 'execution % goes on: a trigger of yours on tocsin.jobs suppresses the change', execution_id;
        return;
    end;
    perform set_config('tocsin.cancelled', '', true);
    perform set_config('tocsin.runs', '', true);
    return query select x.* from tocsin.executions x where x.id = cancel.execution_id;
end $$;

comment on function tocsin.backoff_seconds(attempt integer, backoff numeric, backoff_max numeric, jitter float8) is
    'The wait after an attempt (from 1) that is to be followed by another; jitter: from 0 to 1, varies it by 20 %. As app/core/runs/retry.py has it.';
comment on function tocsin.execution_under_way(job tocsin.jobs) is
    'The execution under way of a job, or of a run beside its plan; null: there is none. Not inlined, as to plan the subquery takes longer than to read a job.';
comment on function tocsin.cancel(execution_id bigint, retry boolean) is
    'Settles an execution that is under way as cancelled, whoever has its lease, and has the instance cut it off. Its run is over, unless another attempt is asked for (retry) and max_attempts leaves one; that comes after the backoff. What follows is not claimed before the holder has cut it off, or its lease has run out. The next run of a job that recurs is planned by an instance, as SQL plans one-offs alone; a plan that was moved meanwhile stays. Returns the execution, also of one that was cancelled before; no row, and a notice: it is not under way.';
-- db/triggers/7_flows.sql: jobs with the same flow_key share limits, over all instances.

-- A job with a flow_key is not in jobs_claimable: a look knows nothing of it. An instance asks tocsin.permit for what
-- may be claimed of some flows; the permits of a flow are judged while the row of its state is locked. A permit that
-- counts for max_concurrency is a lease, so it comes back when the lease ends, whoever had it. Of a rate it is known
-- in tocsin.flow_starts when the starts were, at the latest, and each counts until its window is over.

-- What limits a flow: what it says itself and, of what it leaves null, the longest pattern that matches its key.
create or replace function tocsin.flow_limits(key text)
returns tocsin.flows language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    own tocsin.flows;
    pattern tocsin.flows;
begin
    select * into own from tocsin.flows f where f.flow_key = key;
    select * into pattern from tocsin.flows f
    where strpos(f.flow_key, '*') > 0
      and key collate "C" like replace(replace(replace(replace(f.flow_key, '!', '!!'), '_', '!_'), '%', '!%'), '*', '%') escape '!'
    order by length(f.flow_key) desc, f.flow_key limit 1;
    if own.paused_until <= clock_timestamp() then
        own.paused_at := null;
    end if;
    if pattern.paused_until <= clock_timestamp() then
        pattern.paused_at := null;
    end if;
    if own.flow_key is null then
        return pattern;
    elsif pattern.flow_key is null then
        return own;
    end if;
    own.max_concurrency := coalesce(own.max_concurrency, pattern.max_concurrency);
    if own.rate is null then
        own.rate := pattern.rate;
        own.period_seconds := pattern.period_seconds;
        own.burst := pattern.burst;
    end if;
    if own.paused_at is null then
        own.paused_at := pattern.paused_at;
        own.paused_until := pattern.paused_until;
        own.pause_reason := pattern.pause_reason;
        own.paused_by := pattern.paused_by;
    end if;
    return own;
end $$;

-- For how long a start counts, with a little more, as the clocks of two instances differ by milliseconds; many: of how
-- many starts at most. Two windows, one of which is null where the other is as strict.
create or replace function tocsin.flow_windows(flow tocsin.flows)
returns table (many integer, span interval) language sql stable
begin atomic
    select window_of.many, interval '1 second' * (window_of.seconds + least(0.02, window_of.seconds / 20))
    from (values
        (coalesce(flow.burst, flow.rate), (flow.period_seconds * coalesce(flow.burst, flow.rate) / flow.rate)::float8),
        (case when flow.burst < flow.rate then flow.rate end, flow.period_seconds::float8)) as window_of (many, seconds)
    where window_of.many is not null;
end;

-- How many leases of a flow are in force at a moment. A lease that has run out counts as long as another transaction
-- has its row locked, which may be extending it; those of the others cannot be extended any more: see claims.extend.
-- That is why this locks their rows.
create or replace function tocsin.flow_leases(key text, moment timestamptz)
returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    held integer;
    over integer;
begin
    select count(*) filter (where j.locked_until > moment), count(*) filter (where j.locked_until <= moment)
    into held, over
    from tocsin.jobs j where j.flow_key = key and j.locked_until is not null;
    if over > 0 then
        held := held + over - (
            select count(*) from (
                select from tocsin.jobs j
                where j.flow_key = key and j.locked_until is not null and j.locked_until <= moment
                for no key update skip locked) as free);
    end if;
    return held;
end $$;

-- Gives permits for jobs of some flows, at most `most` together: locks their rows and returns them, in the order of
-- each flow, for the statement that claims them at once. And of each flow a row without id: in how many seconds there
-- may be more to claim of it (null: not before something changes), and whether its starts are to be told. A flow whose
-- state another instance has locked is passed over for a moment.
-- Each statement in here sees what was committed before it, hence also what the last holder of a lock claimed: what limits a
-- flow, and how much of that is taken, is read once its state is locked. All flows go through each statement together, as one
-- for each would cost more than what it does; those that have limits, or raised jobs, have some of their own besides.
-- ended_by: the latest instant that is believed to have come; see claims.look.
create or replace function tocsin.permit(
    keys text[], most bigint, ahead interval, lease interval, ended_by timestamptz,
    kinds text[], aside uuid[], among uuid[], instance text)
returns table (
    flow_key text, next_seconds float8, is_timed boolean, waiting_since timestamptz,
    id uuid, due_at timestamptz, text text, locked_until timestamptz, locked_by text,
    claimed_at timestamptz, claimed_for timestamptz, claimed_attempt integer, execution_id bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    moment timestamptz := least(clock_timestamp(), ended_by);
    one record;
    part record;
    flow tocsin.flows;
    place integer;
    used bigint;
    at_limit boolean;
    left_over bigint := most;
    keys_left integer;
    others text[] := '{}';            -- flows of which something is due whose state is not locked here
    mine text[] := '{}';              -- those whose state is; of each of them, at its place in these:
    waits timestamptz[] := '{}';      -- since when some of its jobs have waited for a permit
    are_raised boolean[] := '{}';     -- whether it has jobs of a raised priority
    spans interval[] := '{}';         -- for how long its starts count; null: it has no rate
    permits bigint[] := '{}';         -- how many its limits leave; null: any number
    shares bigint[] := '{}';          -- how many there is room for
    many bigint[] := '{}';            -- how many may be claimed now: the smaller of these
    taken bigint[] := '{}';           -- how many are
    taken_ids uuid[] := '{}';         -- which, of flows with raised jobs
    following timestamptz[] := '{}';  -- when the first comes due that is not claimed
    next_at timestamptz[] := '{}';    -- when there may be more
begin
    -- By pairs, here and below, so that no plan but a walk of jobs_flow fits: where all that is due belongs to another
    -- flow, one along jobs_flow_due would read all of that first.
    for one in
        select asked.key, first.at, locked.key is not null as is_mine
        from unnest(keys) with ordinality as asked (key, place)
        left join lateral (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (asked.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (asked.key, 'infinity')
            order by j.flow_key, greatest(j.next_run, j.locked_until) limit 1) as first on true
        left join lateral (
            select s.flow_key as key from tocsin.flow_states s
            where s.flow_key = asked.key and first.at <= moment + ahead and most > 0
            for no key update skip locked) as locked on true
        order by asked.place
    loop
        if one.is_mine then
            mine := mine || one.key;
        elsif one.at <= moment + ahead and most > 0 then
            others := others || one.key;
        else
            flow_key := one.key; next_seconds := extract(epoch from one.at - moment);
            return next;
        end if;
    end loop;
    if others <> '{}' then  -- New ones, or locked by others. In their order, lest two looks wait for each other.
        for one in
            with made as (
                insert into tocsin.flow_states as s (flow_key)
                select key from unnest(others) as key order by key
                on conflict do nothing returning s.flow_key
            )
            select key, made.flow_key is not null as is_mine
            from unnest(others) as key left join made on made.flow_key = key
        loop
            if one.is_mine then
                mine := mine || one.key;
            else
                flow_key := one.key; next_seconds := 0.02;
                return next;
            end if;
        end loop;
    end if;
    if mine = '{}' then
        return;
    end if;

    moment := least(clock_timestamp(), ended_by);
    for one in
        with patterns as materialized (
            select replace(replace(replace(replace(f.flow_key, '!', '!!'), '_', '!_'), '%', '!%'), '*', '%') as matched
            from tocsin.flows f where strpos(f.flow_key, '*') > 0
        )
        select own.key, own.place::integer, s.held_until, s.waiting_since,
            exists (select from tocsin.flows f where f.flow_key = own.key)
                or exists (select from patterns p where own.key collate "C" like p.matched escape '!') as is_limited,
            (
                select j.id from tocsin.jobs j
                where tocsin.is_flow_claimable(j) and j.flow_key = own.key and j.priority > 0
                order by j.flow_key, j.priority, greatest(j.locked_until, j.next_run) limit 1) is not null as is_raised
        from unnest(mine) with ordinality as own (key, place)
        join tocsin.flow_states s on s.flow_key = own.key
    loop
        place := one.place;
        waits[place] := one.waiting_since;
        are_raised[place] := one.is_raised;
        taken[place] := 0;
        following[place] := null;
        if one.is_limited then
            flow := tocsin.flow_limits(one.key);
        else
            flow := null;
        end if;
        if flow.paused_at is not null then
            permits[place] := 0;
            next_at[place] := flow.paused_until;
        elsif one.held_until > moment then
            permits[place] := 0;
            next_at[place] := one.held_until;
        elsif flow.max_concurrency is not null then
            permits[place] := greatest(flow.max_concurrency - tocsin.flow_leases(one.key, moment), 0);
            if permits[place] = 0 then  -- a settlement is told; else the first lease that ends
                next_at[place] := coalesce((
                    select min(j.locked_until) from tocsin.jobs j
                    where j.flow_key = one.key and j.locked_until is not null and j.locked_until > moment),
                    moment + interval '0.1 second');
            end if;
        end if;
        if flow.rate is not null and coalesce(permits[place] > 0, true) then
            for part in select * from tocsin.flow_windows(flow) loop
                select coalesce(sum(s.many), 0) into used from tocsin.flow_starts s
                where s.flow_key = one.key and s.latest > moment - part.span;
                if used >= part.many then
                    -- As soon as so many have left the window that one more fits in.
                    next_at[place] := (
                        select greatest(next_at[place], min(s.latest) + part.span)
                        from (
                            select latest, sum(many) over (order by latest) as gone from tocsin.flow_starts
                            where flow_starts.flow_key = one.key and latest > moment - part.span) as s
                        where s.gone > used - part.many);
                end if;
                permits[place] := greatest(least(permits[place], part.many - used), 0);
                spans[place] := greatest(spans[place], part.span);
            end loop;
        end if;
    end loop;

    keys_left := cardinality(mine);
    for place in 1 .. cardinality(mine) loop
        shares[place] := greatest(left_over / keys_left, least(left_over, 1));
        many[place] := least(permits[place], shares[place]);
        left_over := left_over - many[place];
        keys_left := keys_left - 1;
    end loop;

    -- Of each flow one more than is claimed, which tells that more is due.
    for flow_key, place, is_timed, waiting_since, id, due_at, text, locked_until, locked_by, claimed_at, claimed_for,
        claimed_attempt, execution_id in
        select own.key, own.place, spans[own.place] is not null, waits[own.place], due.*
        from unnest(mine, many, are_raised) with ordinality as own (key, many, is_raised, place)
        cross join lateral (
            select j.id, greatest(j.next_run, j.locked_until) as due_at,
                case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                    then j.target::text end as text,
                j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id
            from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (own.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (own.key, moment + ahead)
              and (j.locked_until is null or j.locked_until <= moment)
              and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
            order by j.flow_key, greatest(j.next_run, j.locked_until)
            limit own.many + 1
            for no key update skip locked) as due
        where own.many > 0 and not own.is_raised
    loop
        if taken[place] < many[place] then
            taken[place] := taken[place] + 1;
            return next;
        else
            following[place] := due_at;
        end if;
    end loop;
    -- By rank, as claims.look_by_priority has it, where any job of the flow is raised.
    for one in
        select own.key, own.place::integer, own.many
        from unnest(mine, many, are_raised) with ordinality as own (key, many, is_raised, place)
        where own.many > 0 and own.is_raised
    loop
        place := one.place;
        for flow_key, is_timed, waiting_since, id, due_at, text, locked_until, locked_by, claimed_at, claimed_for,
            claimed_attempt, execution_id in
            with first as materialized (
                select j.id, greatest(j.next_run, j.locked_until) as due_at,
                    case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                        then j.target::text end as text,
                    j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id, j.priority
                from tocsin.jobs j
                where tocsin.is_flow_claimable(j)
                  and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (one.key, '-infinity')
                  and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (one.key, moment + ahead)
                  and (j.locked_until is null or j.locked_until <= moment)
                  and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
                order by j.flow_key, greatest(j.next_run, j.locked_until)
                limit one.many
                for no key update skip locked
            ), raised as materialized (
                select due.*
                from generate_series(1, tocsin.highest_priority()) as level
                cross join lateral (
                    select j.id, greatest(j.next_run, j.locked_until) as due_at,
                        case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                            then j.target::text end as text,
                        j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id, j.priority
                    from tocsin.jobs j
                    where tocsin.is_flow_claimable(j) and j.flow_key = one.key and j.priority > 0 and j.priority = level
                      and greatest(j.locked_until, j.next_run) <= moment + ahead
                      and (j.locked_until is null or j.locked_until <= moment)
                      and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
                    order by j.flow_key, j.priority, greatest(j.locked_until, j.next_run)
                    limit one.many
                    for no key update skip locked
                ) as due
            )
            select one.key, spans[place] is not null, waits[place], found.id, found.due_at, found.text, found.locked_until, found.locked_by,
                found.claimed_at, found.claimed_for, found.claimed_attempt, found.execution_id
            from (
                select * from first where priority not between 1 and tocsin.highest_priority()
                union all select * from raised) as found
            order by tocsin.rank(found.due_at, found.priority)
            limit one.many
        loop
            taken[place] := taken[place] + 1;
            taken_ids := taken_ids || id;
            return next;
        end loop;
    end loop;

    is_timed := null; waiting_since := null; id := null; due_at := null; text := null; locked_until := null; locked_by := null;
    claimed_at := null; claimed_for := null; claimed_attempt := null; execution_id := null;
    for one in
        -- Nothing is claimed yet, so those that are returned here are the first of the flow, unless some are raised.
        select own.key, own.place::integer, coalesce(own.following, first.at) as at
        from unnest(mine, many, taken, following, are_raised) with ordinality as own (key, many, taken, following, is_raised, place)
        left join lateral (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where tocsin.is_flow_claimable(j) and own.many > 0 and own.following is null
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (own.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (own.key, 'infinity')
              and not (own.is_raised and j.id = any (taken_ids))
            order by j.flow_key, greatest(j.next_run, j.locked_until)
            offset case when own.is_raised then 0 else own.taken end limit 1) as first on true
    loop
        place := one.place;
        at_limit := permits[place] < shares[place];
        if many[place] > 0 then
            if taken[place] > 0 and spans[place] is not null then
                delete from tocsin.flow_starts s where s.flow_key = one.key and s.latest <= moment - spans[place];
                insert into tocsin.flow_starts as s (flow_key, granted_at, instance, many, latest)
                values (one.key, now(), permit.instance, taken[place], moment + ahead + interval '5 seconds')
                on conflict on constraint flow_starts_pkey do update
                set many = s.many + excluded.many, latest = greatest(s.latest, excluded.latest);
            end if;
            next_at[place] := case
                when coalesce(one.at > moment + ahead, true) and taken[place] > 0 then least(one.at, moment + lease)
                when coalesce(one.at > moment + ahead, true) then one.at
                when taken[place] = many[place] then moment  -- what limits it now is known at the next time
                else moment + interval '0.1 second' end;  -- locked by others, of another kind, or aside
            at_limit := at_limit and taken[place] = many[place] and coalesce(one.at <= moment + ahead, false);
        elsif shares[place] = 0 and permits[place] is distinct from 0 then
            next_at[place] := moment;  -- there was no room for it
        end if;
        -- At the limit, and some are due: what waits is not late, as far as misfire is concerned.
        if shares[place] > 0 and coalesce(at_limit, false) <> (waits[place] is not null) then
            update tocsin.flow_states s set waiting_since = case when at_limit then moment end where s.flow_key = one.key;
        end if;
        flow_key := one.key; next_seconds := extract(epoch from next_at[place] - moment);
        return next;
    end loop;
end $$;

-- Tells instances that something of a flow may be claimed sooner than they know; null: of any flow.
create or replace function tocsin.wake_flow(key text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_flows', coalesce(key, ''));
    end if;
end $$;

-- Ends what a target asked for: jobs of the flow may start again.
create or replace function tocsin.release_flow(key text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update tocsin.flow_states s set held_until = null, held_for = null where s.flow_key = key;
    perform tocsin.wake_flow(key);
end $$;

-- Says who paused a flow; one that is not paused has nothing of a pause, and one that is paused anew by paused_at alone nothing
-- of a pause that has ended by itself.
create or replace function tocsin.keep_flow_pause()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.paused_at is null then
        new.pause_reason := null;
        new.paused_until := null;
        new.paused_by := null;
    elsif tg_op = 'INSERT' then
        new.paused_by := left(tocsin.actor(), 2000);
    elsif row(new.paused_at, new.pause_reason, new.paused_until) is distinct from row(old.paused_at, old.pause_reason, old.paused_until) then
        new.paused_by := left(tocsin.actor(), 2000);
        if old.paused_until <= clock_timestamp() and new.paused_until = old.paused_until and new.paused_at <> old.paused_at then
            new.paused_until := null;
            new.pause_reason := nullif(new.pause_reason, old.pause_reason);
        end if;
    end if;
    return new;
end $$;

create or replace trigger flows_100_pause before insert or update on tocsin.flows
    for each row execute function tocsin.keep_flow_pause();

-- Pauses all jobs of a flow, or of those that a pattern matches, says why (reason, up to 1,000 characters), and until when; null:
-- until it is resumed: select tocsin.pause_flow('api.example.com', 'it is moved', now() + interval '2 hours'); Its limits stay
-- as they are, and its jobs keep their plan and wait. A pause of it that there is gets this reason and end. Returns the flow.
create or replace function tocsin.pause_flow(flow_key text, reason text default null, until timestamptz default null)
returns setof tocsin.flows language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform tocsin.check_pause(pause_flow.reason, pause_flow.until);
    return query
        insert into tocsin.flows as f (flow_key, paused_at, pause_reason, paused_until)
        values (pause_flow.flow_key, clock_timestamp(), pause_flow.reason, pause_flow.until)
        on conflict (flow_key) do update
        set paused_at = case when f.paused_until <= clock_timestamp() then excluded.paused_at else coalesce(f.paused_at, excluded.paused_at) end,
            pause_reason = excluded.pause_reason, paused_until = excluded.paused_until, updated_at = clock_timestamp()
        returning f.*;
end $$;

-- Resumes a flow: its jobs start again, as far as its limits allow. Those limits stay. Returns the flow; no row: there is none,
-- or it is not paused itself.
create or replace function tocsin.resume_flow(flow_key text)
returns setof tocsin.flows language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        update tocsin.flows f set paused_at = null, updated_at = clock_timestamp()
        where f.flow_key = resume_flow.flow_key and f.paused_at is not null returning f.*;
end $$;

-- Tells instances that the limits of a flow have changed.
create or replace function tocsin.wake_flow_of()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key constant text := case when tg_op = 'DELETE' then old.flow_key else new.flow_key end;
begin
    perform tocsin.wake_flow(case when strpos(key, '*') = 0 then key end);
    return null;
end $$;

create or replace trigger flows_900_wake after insert or update or delete on tocsin.flows
    for each row execute function tocsin.wake_flow_of();

-- The flow of the host that a target is sent to, see tocsin.flow_by_host; null: it is of another kind than http, or the
-- host is an IPv6 address, has letters beyond ASCII, or comes from a template. app/core/jobs/host_flow.py has the same.
create or replace function tocsin.host_flow(kind text, target jsonb)
returns text language sql immutable parallel safe
    return case when kind = 'http' and jsonb_typeof(target -> 'url') = 'string' then 'host:' || lower(substring(target ->> 'url'
        from '^[a-zA-Z]+://(?:[^/?#@]*@)?([a-zA-Z0-9._-]{1,190})(?:[:/?#]|$)')) end;

-- Puts a job into the flow of the host of its target, unless it has another one of its own.
create or replace function tocsin.derive_flow()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.flow_key is null or (tg_op = 'UPDATE' and new.flow_key = tocsin.host_flow(old.kind, old.target)) then
        new.flow_key := tocsin.host_flow(new.kind, new.target);
    end if;
    return new;
end $$;

-- Has each job that is written from now on without a flow_key, by whatever door, be in the flow of its target's host; or
-- no longer. A trigger that is there only while this is wanted: else each insertion would pay for it. For the owner of
-- the table. Jobs that are there already: update tocsin.jobs set flow_key = null where flow_key is null and kind = 'http';
create or replace function tocsin.flow_by_host(wanted boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if wanted then
        create or replace trigger jobs_065_flow_by_host before insert or update of kind, target, flow_key on tocsin.jobs
            for each row when (new.run_of is null and (new.flow_key is null or new.flow_key like 'host:%'))
            execute function tocsin.derive_flow();
    else
        drop trigger if exists jobs_065_flow_by_host on tocsin.jobs;
    end if;
end $$;

-- What the audit log keeps of a flow.
create or replace function tocsin.flow_image(flow tocsin.flows)
returns jsonb language sql immutable
    return jsonb_build_object('max_concurrency', flow.max_concurrency, 'rate', flow.rate,
        'period_seconds', flow.period_seconds, 'burst', flow.burst, 'paused_at', flow.paused_at,
        'pause_reason', flow.pause_reason, 'paused_until', flow.paused_until);

-- Writes the changes of flows into the audit log.
create or replace function tocsin.audit_flow()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was constant jsonb := case when tg_op <> 'INSERT' then tocsin.flow_image(old) end;
    became constant jsonb := case when tg_op <> 'DELETE' then tocsin.flow_image(new) end;
begin
    if was = became then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'flow', coalesce(new.id, old.id), coalesce(new.flow_key, old.flow_key),
        case when tg_op = 'UPDATE' then array(
            select e.key from jsonb_each(was) as e where e.value <> became -> e.key order by 1) end,
        was, became);
    return null;
end $$;

create or replace trigger flows_800_audit after insert or update or delete on tocsin.flows
    for each row execute function tocsin.audit_flow();

-- What of its flow keeps a job from starting that is due: one row for each limit that is reached. Who has the permits
-- is told of the ten whose leases end first.
create or replace function tocsin.explain_flow(job tocsin.jobs)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    flow tocsin.flows;
    state tocsin.flow_states;
    place record;
    used bigint;
    next_at timestamptz;
    holders jsonb;
    words text;
begin
    if job.flow_key is null or not has_table_privilege('tocsin.flows', 'select') then
        return;
    end if;
    flow := tocsin.flow_limits(job.flow_key);
    if flow.paused_at is not null then
        return query select 'flow_paused', format('Its flow %s is paused since %s%s.%s', job.flow_key, tocsin.told_at(flow.paused_at),
                case when flow.flow_key <> job.flow_key then ', by the pattern ' || flow.flow_key else '' end,
                tocsin.pause_in_words(jsonb_build_object('paused_by', flow.paused_by, 'until', flow.paused_until,
                    'reason', flow.pause_reason))),
            flow.paused_at, flow.paused_until, jsonb_strip_nulls(jsonb_build_object('flow_key', job.flow_key,
                'paused_by', flow.paused_by, 'pause_reason', flow.pause_reason));
    end if;
    if has_table_privilege('tocsin.flow_states', 'select') then
        select * into state from tocsin.flow_states s where s.flow_key = job.flow_key;
        if state.held_until > now() then
            return query select 'flow_held', format('Its flow %s is held until %s: %s.', job.flow_key,
                    tocsin.told_at(state.held_until), coalesce(state.held_for, 'the target asked for that')),
                null::timestamptz, state.held_until, jsonb_build_object('flow_key', job.flow_key);
        end if;
    end if;
    if flow.max_concurrency is not null then
        select count(*), min(j.locked_until) into used, next_at
        from tocsin.jobs j where j.flow_key = job.flow_key and j.locked_until is not null and j.locked_until > now();
        if used >= flow.max_concurrency then
            select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                    'job_id', coalesce(h.run_of, h.id), 'name', h.called, 'execution_id', h.execution_id,
                    'instance', h.locked_by, 'until', h.locked_until)) order by h.locked_until, h.id),
                string_agg(coalesce(h.called, coalesce(h.run_of, h.id)::text), ', ' order by h.locked_until, h.id)
            into holders, words
            from (
                -- A run beside the plan has no name of its own.
                select j.*, coalesce(j.name, (select o.name from tocsin.jobs o where o.id = j.run_of)) as called
                from tocsin.jobs j
                where j.flow_key = job.flow_key and j.locked_until is not null and j.locked_until > now()
                order by j.locked_until, j.id limit 10) as h;
            return query select 'flow_full', format('%s of %s permits of its flow %s are taken: by %s%s. One comes back when one of these ends, at %s at the latest unless its lease is extended.',
                    used, flow.max_concurrency, job.flow_key, words, case when used > 10 then ' and others' else '' end,
                    tocsin.told_at(next_at)),
                null::timestamptz, next_at, jsonb_build_object('flow_key', job.flow_key, 'permits', flow.max_concurrency,
                    'taken', used, 'holders', holders);
        end if;
    end if;
    if flow.rate is not null and has_table_privilege('tocsin.flow_starts', 'select') then
        for place in select * from tocsin.flow_windows(flow) loop
            select coalesce(sum(s.many), 0) into used
            from tocsin.flow_starts s
            where s.flow_key = job.flow_key and s.latest > now() - place.span;
            if used >= place.many then
                -- As tocsin.permit has it: a limit that was lowered has more in its window than it allows.
                select min(s.latest) + place.span into next_at
                from (
                    select latest, sum(many) over (order by latest) as gone from tocsin.flow_starts
                    where flow_starts.flow_key = job.flow_key and latest > now() - place.span) as s
                where s.gone > used - place.many;
                return query select 'flow_rate', format('%s of %s starts that its flow %s may have in %s s were made: the next is at %s.',
                        used, place.many, job.flow_key, round(extract(epoch from place.span)::numeric, 3), tocsin.told_at(next_at)),
                    null::timestamptz, next_at, jsonb_build_object('flow_key', job.flow_key, 'permits', place.many, 'taken', used);
            end if;
        end loop;
    end if;
end $$;

comment on function tocsin.flow_limits(key text) is
    'What limits a flow: what it says itself and, of what it leaves null, the longest pattern that matches its key.';
comment on function tocsin.flow_windows(flow tocsin.flows) is
    'For how long a start counts, with a little more, as the clocks of two instances differ by milliseconds; many: of how many starts at most. Two windows, one of which is null where the other is as strict.';
comment on function tocsin.flow_leases(key text, moment timestamptz) is
    'How many leases of a flow are in force at a moment. A lease that has run out counts as long as another transaction has its row locked, which may be extending it; those of the others cannot be extended any more: see claims.extend. That is why this locks their rows.';
comment on function tocsin.permit(keys text[], most bigint, ahead interval, lease interval, ended_by timestamptz, kinds text[], aside uuid[], among uuid[], instance text) is
    'Gives permits for jobs of some flows, at most `most` together: locks their rows and returns them, in the order of each flow, for the statement that claims them at once. And of each flow a row without id: in how many seconds there may be more to claim of it (null: not before something changes), and whether its starts are to be told. A flow whose state another instance has locked is passed over for a moment. Each statement in here sees what was committed before it, hence also what the last holder of a lock claimed: what limits a flow, and how much of that is taken, is read once its state is locked. All flows go through each statement together, as one for each would cost more than what it does; those that have limits, or raised jobs, have some of their own besides. ended_by: the latest instant that is believed to have come; see claims.look.';
comment on function tocsin.wake_flow(key text) is
    'Tells instances that something of a flow may be claimed sooner than they know; null: of any flow.';
comment on function tocsin.release_flow(key text) is
    'Ends what a target asked for: jobs of the flow may start again.';
comment on function tocsin.keep_flow_pause() is
    'Says who paused a flow; one that is not paused has nothing of a pause, and one that is paused anew by paused_at alone nothing of a pause that has ended by itself.';
comment on function tocsin.pause_flow(flow_key text, reason text, until timestamptz) is
    'Pauses all jobs of a flow, or of those that a pattern matches, says why (reason, up to 1,000 characters), and until when; null: until it is resumed: select tocsin.pause_flow(''api.example.com'', ''it is moved'', now() + interval ''2 hours''); Its limits stay as they are, and its jobs keep their plan and wait. A pause of it that there is gets this reason and end. Returns the flow.';
comment on function tocsin.resume_flow(flow_key text) is
    'Resumes a flow: its jobs start again, as far as its limits allow. Those limits stay. Returns the flow; no row: there is none, or it is not paused itself.';
comment on function tocsin.wake_flow_of() is
    'Tells instances that the limits of a flow have changed.';
comment on function tocsin.host_flow(kind text, target jsonb) is
    'The flow of the host that a target is sent to, see tocsin.flow_by_host; null: it is of another kind than http, or the host is an IPv6 address, has letters beyond ASCII, or comes from a template. app/core/jobs/host_flow.py has the same.';
comment on function tocsin.derive_flow() is
    'Puts a job into the flow of the host of its target, unless it has another one of its own.';
comment on function tocsin.flow_by_host(wanted boolean) is
    'Has each job that is written from now on without a flow_key, by whatever door, be in the flow of its target''s host; or no longer. A trigger that is there only while this is wanted: else each insertion would pay for it. For the owner of the table. Jobs that are there already: update tocsin.jobs set flow_key = null where flow_key is null and kind = ''http'';';
comment on function tocsin.flow_image(flow tocsin.flows) is
    'What the audit log keeps of a flow.';
comment on function tocsin.audit_flow() is
    'Writes the changes of flows into the audit log.';
comment on function tocsin.explain_flow(job tocsin.jobs) is
    'What of its flow keeps a job from starting that is due: one row for each limit that is reached. Who has the permits is told of the ten whose leases end first.';
-- db/triggers/7_keys.sql: the limits of API keys.

-- Notes jobs that are about to be made with an API key that has max_jobs, which is the largest number of jobs that exist
-- and were made with it; refuses these (23514) if that would be exceeded. Who makes jobs with the same key at the same
-- time waits at the key's row, and counts when the others have committed: each statement of a function that is volatile
-- sees what is committed by then. A key that has no such limit limits nothing. With one that is revoked, or gone, no jobs
-- are made any more: processes believe it for two seconds, in which its jobs would count anew.
create or replace function tocsin.note_key_jobs(key_id uuid, job_ids uuid[])
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    most integer;
    revoked timestamptz;
    many bigint;
begin
    select k.max_jobs, k.revoked_at into most, revoked
    from tocsin.api_keys k where k.id = note_key_jobs.key_id for no key update;
    if not found or revoked is not null then
        raise exception using
            errcode = 'check_violation', schema = 'tocsin', table = 'api_keys', column = 'max_jobs',
            message = 'the API key, which has the limit max_jobs, is revoked', hint = 'Use one that is in force.';
    end if;
    if most is null then
        return false;
    end if;
    many := (select count(*) from tocsin.key_jobs n where n.key_id = note_key_jobs.key_id);
    if many + cardinality(job_ids) > most then
        delete from tocsin.key_jobs n
        where n.key_id = note_key_jobs.key_id and not exists (select from tocsin.jobs j where j.id = n.job_id);
        many := (select count(*) from tocsin.key_jobs n where n.key_id = note_key_jobs.key_id);
    end if;
    if many + cardinality(job_ids) > most then
        raise exception using
            errcode = 'check_violation', schema = 'tocsin', table = 'api_keys', column = 'max_jobs',
            message = format('the limit max_jobs of the API key is %s, and it has made %s of the jobs that exist%s',
                most, many, case when cardinality(job_ids) > 1 then format(': %s more are too many', cardinality(job_ids)) else '' end),
            hint = 'Delete jobs that are of no use any more, or use a key that may make more.';
    end if;
    insert into tocsin.key_jobs select note_key_jobs.key_id, job_id from unnest(job_ids) as job_id;
    return true;
end $$;

-- A key that is revoked makes no more jobs. With the rights of the owner: who may revoke a key need not know of this.
create or replace function tocsin.forget_key_jobs()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from tocsin.key_jobs n where n.key_id = new.id;
    return null;
end $$;

create or replace trigger api_keys_800_forget_jobs after update on tocsin.api_keys
    for each row when (new.revoked_at is not null and old.revoked_at is null)
    execute function tocsin.forget_key_jobs();

comment on function tocsin.note_key_jobs(key_id uuid, job_ids uuid[]) is
    'Notes jobs that are about to be made with an API key that has max_jobs, which is the largest number of jobs that exist and were made with it; refuses these (23514) if that would be exceeded. Who makes jobs with the same key at the same time waits at the key''s row, and counts when the others have committed: each statement of a function that is volatile sees what is committed by then. A key that has no such limit limits nothing. With one that is revoked, or gone, no jobs are made any more: processes believe it for two seconds, in which its jobs would count anew.';
comment on function tocsin.forget_key_jobs() is
    'A key that is revoked makes no more jobs. With the rights of the owner: who may revoke a key need not know of this.';
-- db/triggers/7_maintenance.sql: windows of maintenance, laid over a tag or over all jobs.

-- As with calendars, nothing of a plan depends on a window but the instant to which runs were put off. Instances know
-- the time of all windows; of a run that is due then they ask, before it starts, what the windows make of it.

-- Refuses a window without a time, or with a calendar that there is not.
create or replace function tocsin.check_maintenance()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' or new.calendar is distinct from old.calendar then  -- two that count at once would each find room
        perform pg_advisory_xact_lock(hashtext('tocsin.maintenance'));
    end if;
    if num_nonnulls(new.calendar, new.starts_at, new.ends_at) = 0 or (new.calendar is null and new.ends_at is null) then
        perform tocsin.refuse('ends_at', 'or calendar is missing', 'Write when the window ends, or the name of a calendar.');
    elsif new.calendar is not null and num_nonnulls(new.starts_at, new.ends_at) > 0 then
        perform tocsin.refuse('calendar', 'is given beside starts_at or ends_at', 'Write one of the two: a window has the time of a calendar, or one span.');
    elsif new.calendar is not null and not exists (select from tocsin.calendars c where c.name = new.calendar) then
        perform tocsin.refuse('calendar', format('%L is no calendar', left(new.calendar, 120)), 'Make it first.');
    elsif new.calendar is null and coalesce(new.starts_at, clock_timestamp()) >= new.ends_at then
        perform tocsin.refuse('ends_at', 'is not later than starts_at, or than now', 'Write a later instant.');
    elsif least(new.starts_at, new.ends_at) < '2000-01-01 00:00Z' or greatest(new.starts_at, new.ends_at) > '2200-01-01 00:00Z' then
        perform tocsin.refuse('ends_at', 'or starts_at is out of range', 'Write instants from the year 2000 to 2200.');
    elsif new.tag = '' or new.tag ~ ',' or length(new.tag) > 200 then
        perform tocsin.refuse('tag', 'is no tag that a job can have', 'Write 1 to 200 characters without a comma.');
    elsif new.on_closed is null or new.on_closed not in ('skip', 'next_open') then
        perform tocsin.refuse('on_closed', format('%L is unknown', left(new.on_closed, 100)), 'Write skip or next_open.');
    elsif length(new.reason) > 1000 then
        perform tocsin.refuse('reason', 'is too long', 'Use at most 1000 characters.');
    elsif tg_op = 'INSERT' and (select count(*) from tocsin.maintenance) >= 200 then
        perform tocsin.refuse('maintenance', 'has 200 windows', 'End some, or lay a calendar with several spans.');
    elsif (select count(distinct w.calendar) from tocsin.maintenance w where w.id <> new.id and w.calendar <> new.calendar)
        >= tocsin.most_window_calendars() then
        perform tocsin.refuse('calendar', format('is one more than the %s that windows may have', tocsin.most_window_calendars()),
            'Put their time into one calendar.');
    end if;
    if new.calendar is null then
        new.starts_at := coalesce(new.starts_at, clock_timestamp());
    end if;
    if tg_op = 'UPDATE' then
        new.updated_at := clock_timestamp();
    end if;
    return new;
end $$;

create or replace trigger maintenance_100_check before insert or update on tocsin.maintenance
    for each row execute function tocsin.check_maintenance();

-- Tells instances, and has the runs judged anew that a window had put off.
create or replace function tocsin.tell_maintenance()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op <> 'INSERT' then
        update tocsin.put_off_runs p set window_id = null where p.window_id = old.id;
    end if;
    perform pg_notify('tocsin_calendars', '');
    return null;
end $$;

create or replace trigger maintenance_810_tell after insert or update or delete on tocsin.maintenance
    for each row execute function tocsin.tell_maintenance();

-- Tells instances, and has runs judged anew, where it is the times of a window's calendar that change.
create or replace function tocsin.tell_windows()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update tocsin.put_off_runs p set window_id = null
    from tocsin.maintenance w where w.calendar = new.name and p.window_id = w.id;
    return null;
end $$;

create or replace trigger calendars_820_tell_windows after update of times on tocsin.calendars
    for each row when (new.times is distinct from old.times) execute function tocsin.tell_windows();

-- The time of a window; empty: its calendar has yet to be worked out.
create or replace function tocsin.window_times(of_window tocsin.maintenance)
returns tstzmultirange language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if of_window.calendar is null then
        return tstzmultirange(tstzrange(of_window.starts_at, of_window.ends_at));
    end if;
    return coalesce((select c.times from tocsin.calendars c where c.name = of_window.calendar), '{}');
end $$;

-- Once with fewer arguments: a call could mean either.
drop function if exists tocsin.maintenance_times(text[], text);

-- How many calendars windows may have together: each is read as a whole, a millisecond for the largest, by whatever asks.
create or replace function tocsin.most_window_calendars()
returns integer language sql immutable parallel safe
    return 20;

-- The time in [since, until) of all windows that concern a job with these tags; with a word, of those whose on_closed it is.
-- Of a calendar that has yet to be worked out there is none. Each calendar is read once, however many windows have it.
create or replace function tocsin.maintenance_times(
    tags text[], on_closed text default null, since timestamptz default null, until timestamptz default null)
returns tstzmultirange language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    asked constant tstzmultirange := tstzmultirange(tstzrange(since, until));
begin
    return (
        with windows as materialized (
            select w.calendar, w.starts_at, w.ends_at from tocsin.maintenance w
            where (w.tag is null or w.tag = any (maintenance_times.tags))
              and (maintenance_times.on_closed is null or w.on_closed = maintenance_times.on_closed)
        )
        select coalesce(range_agg(total.part), '{}') from (
            select unnest(tstzmultirange(tstzrange(w.starts_at, w.ends_at)) * asked) as part
            from windows w where w.calendar is null
            union all
            select unnest(c.times * asked) from tocsin.calendars c
            where c.name in (select w.calendar from windows w)) as total);
end $$;

-- The window that an instant falls into, of those that concern a job with these tags; of several one that skips.
create or replace function tocsin.maintenance_at(tags text[], at timestamptz)
returns tocsin.maintenance language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found_window tocsin.maintenance;
begin
    with windows as materialized (
        select * from tocsin.maintenance w where w.tag is null or w.tag = any (maintenance_at.tags)
    ), under_way as materialized (
        select c.name from tocsin.calendars c
        where c.name in (select w.calendar from windows w) and c.times @> maintenance_at.at
    )
    select * into found_window from windows w
    where case when w.calendar is null then tstzrange(w.starts_at, w.ends_at) @> maintenance_at.at
        else w.calendar in (select name from under_way) end
    order by w.on_closed desc, w.id limit 1;
    return found_window;
end $$;

-- The window that a run of the plan of a job falls into. A run that calendars put off is judged by the instant at which
-- they open.
create or replace function tocsin.maintenance_of(job tocsin.jobs, run timestamptz)
returns tocsin.maintenance language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from tocsin.maintenance) then
        return null;
    end if;
    return tocsin.maintenance_at(job.tags, case when job.on_closed = 'next_open'
        then coalesce(nullif(tocsin.closed_until(job.calendars, run), 'infinity'), run) else run end);
end $$;

-- Whether an instant falls into a window that concerns a job with these tags.
create or replace function tocsin.is_maintained(tags text[], at timestamptz)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (tocsin.maintenance_at(tags, at)).id is not null;
end $$;

-- When the windows and the calendars of a job leave it open again, from an instant on; infinity: not any more. Of most the
-- answer is near, so it is looked for in the time that is before it is looked for in all.
create or replace function tocsin.maintained_until(calendars text[], tags text[], at timestamptz)
returns timestamptz language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    open constant tstzmultirange := coalesce(tocsin.open_times(calendars), '{(,)}');
    until timestamptz;
    found_at timestamptz;
begin
    foreach until in array array[at + interval '8 days', null] loop
        found_at := lower(open * tstzmultirange(tstzrange(at, until)) - tocsin.maintenance_times(tags, null, at, until));
        exit when found_at is not null;
    end loop;
    return coalesce(found_at, 'infinity');
end $$;

-- Notes that a window has put the run of a job off, or was about to and is gone by now.
create or replace function tocsin.note_put_off(job_id uuid, window_id uuid, until timestamptz)
returns void language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into tocsin.put_off_runs as p (job_id, window_id, until)
    values (note_put_off.job_id, (select w.id from tocsin.maintenance w where w.id = note_put_off.window_id), note_put_off.until)
    on conflict on constraint put_off_runs_pkey do update set window_id = excluded.window_id, until = excluded.until;
end;

-- Has runs start that were put off; those that are closed still are put off again. A job may have gone on meanwhile to a
-- run that is yet to come.
create or replace function tocsin.due_now(ids uuid[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update tocsin.jobs j set next_run = clock_timestamp(), planned_at = clock_timestamp()
    where j.id = any (ids) and j.attempt = 0 and j.locked_until is null
      and j.next_run > j.scheduled_for and j.next_run > clock_timestamp() and j.scheduled_for <= clock_timestamp();
end $$;

-- Replans up to so many jobs whose run was put off by a window that has changed since: a run that is open by now is
-- due at once. One under a lease, of which it is not written yet that it is put off, has its turn later. Forgets what has
-- started by itself, and windows that ended a month ago: by a clock as history is pruned by, as one that was set forward
-- by mistake must not cost the windows of the coming weeks. Returns how many it looked at.
create or replace function tocsin.replan_maintained(many bigint)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := least(clock_timestamp(), (select t.trusted from tocsin.trusted_clock t));
    seen uuid[];
    one uuid;
begin
    delete from tocsin.maintenance w where w.ends_at < moment - interval '30 days';
    with taken as materialized (
        select p.job_id from tocsin.put_off_runs p join tocsin.jobs j on j.id = p.job_id
        where p.window_id is null and j.locked_until is null
        order by p.job_id limit many for no key update skip locked
    ), gone as (
        delete from tocsin.put_off_runs p using taken where p.job_id = taken.job_id
        returning p.job_id
    )
    select array_agg(job_id) into seen from gone;
    begin
        perform tocsin.due_now(seen);
    exception when others then  -- a trigger of users; it keeps its own job alone
        foreach one in array seen loop
            begin
                perform tocsin.due_now(array[one]);
            exception when others then
                null;  -- it starts when the window would have ended
            end;
        end loop;
    end;
    with over as (
        select p.job_id from tocsin.put_off_runs p where p.until < moment
        order by p.until limit many for update skip locked
    )
    delete from tocsin.put_off_runs p using over where p.job_id = over.job_id;
    return coalesce(cardinality(seen), 0);
end $$;
revoke execute on function tocsin.note_put_off, tocsin.replan_maintained from public;

-- Lays a window over all jobs, or over those that have a tag, from now on or from an instant on; or by a calendar:
-- select tocsin.maintain(tag => 'billing', ends_at => now() + interval '2 hours', reason => 'the receiver is moved');
create or replace function tocsin.maintain(
    tag text default null, ends_at timestamptz default null, starts_at timestamptz default null, calendar text default null,
    on_closed text default 'skip', reason text default null)
returns tocsin.maintenance language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    made tocsin.maintenance;
begin
    insert into tocsin.maintenance as w (tag, calendar, starts_at, ends_at, on_closed, reason)
    values (maintain.tag, maintain.calendar, maintain.starts_at, maintain.ends_at, maintain.on_closed, maintain.reason)
    returning w.* into made;
    return made;
end $$;

-- Ends a window, or takes one back that has yet to come; what it put off starts within seconds. False: there is none.
create or replace function tocsin.end_maintenance(id uuid)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    delete from tocsin.maintenance w where w.id = end_maintenance.id;
    return found;
end $$;

-- When a window that concerned a job with these tags was last changed or ended, from an instant on; null: none was. Of those
-- that are gone the audit log alone knows.
create or replace function tocsin.windows_changed_at(tags text[], since timestamptz)
returns timestamptz language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select max(a.at) from tocsin.audit_log a
    where a.at >= since and a.entity = 'maintenance' and a.action in ('update', 'delete')
      and (a.before ->> 'tag' is null or a.before ->> 'tag' = any (tags));
end;

-- Writes the changes of windows of maintenance into the audit log.
create or replace function tocsin.audit_maintenance()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was constant jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - '{id,created_at,created_by,updated_at}'::text[] end;
    became constant jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - '{id,created_at,created_by,updated_at}'::text[] end;
begin
    if was is not distinct from became or (tg_op = 'DELETE' and old.ends_at < clock_timestamp() - interval '30 days') then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'maintenance', coalesce(new.id, old.id), coalesce(new.tag, old.tag),
        case when tg_op = 'UPDATE' then array(
            select e.key from jsonb_each(was) as e where e.value is distinct from became -> e.key order by 1) end,
        was, became);
    return null;
end $$;

create or replace trigger maintenance_800_audit after insert or update or delete on tocsin.maintenance
    for each row execute function tocsin.audit_maintenance();

comment on function tocsin.check_maintenance() is
    'Refuses a window without a time, or with a calendar that there is not.';
comment on function tocsin.tell_maintenance() is
    'Tells instances, and has the runs judged anew that a window had put off.';
comment on function tocsin.tell_windows() is
    'Tells instances, and has runs judged anew, where it is the times of a window''s calendar that change.';
comment on function tocsin.window_times(of_window tocsin.maintenance) is
    'The time of a window; empty: its calendar has yet to be worked out.';
comment on function tocsin.most_window_calendars() is
    'How many calendars windows may have together: each is read as a whole, a millisecond for the largest, by whatever asks.';
comment on function tocsin.maintenance_times(tags text[], on_closed text, since timestamptz, until timestamptz) is
    'The time in [since, until) of all windows that concern a job with these tags; with a word, of those whose on_closed it is. Of a calendar that has yet to be worked out there is none. Each calendar is read once, however many windows have it.';
comment on function tocsin.maintenance_at(tags text[], at timestamptz) is
    'The window that an instant falls into, of those that concern a job with these tags; of several one that skips.';
comment on function tocsin.maintenance_of(job tocsin.jobs, run timestamptz) is
    'The window that a run of the plan of a job falls into. A run that calendars put off is judged by the instant at which they open.';
comment on function tocsin.is_maintained(tags text[], at timestamptz) is
    'Whether an instant falls into a window that concerns a job with these tags.';
comment on function tocsin.maintained_until(calendars text[], tags text[], at timestamptz) is
    'When the windows and the calendars of a job leave it open again, from an instant on; infinity: not any more. Of most the answer is near, so it is looked for in the time that is before it is looked for in all.';
comment on function tocsin.note_put_off(job_id uuid, window_id uuid, until timestamptz) is
    'Notes that a window has put the run of a job off, or was about to and is gone by now.';
comment on function tocsin.due_now(ids uuid[]) is
    'Has runs start that were put off; those that are closed still are put off again. A job may have gone on meanwhile to a run that is yet to come.';
comment on function tocsin.replan_maintained(many bigint) is
    'Replans up to so many jobs whose run was put off by a window that has changed since: a run that is open by now is due at once. One under a lease, of which it is not written yet that it is put off, has its turn later. Forgets what has started by itself, and windows that ended a month ago: by a clock as history is pruned by, as one that was set forward by mistake must not cost the windows of the coming weeks. Returns how many it looked at.';
comment on function tocsin.maintain(tag text, ends_at timestamptz, starts_at timestamptz, calendar text, on_closed text, reason text) is
    'Lays a window over all jobs, or over those that have a tag, from now on or from an instant on; or by a calendar: select tocsin.maintain(tag => ''billing'', ends_at => now() + interval ''2 hours'', reason => ''the receiver is moved'');';
comment on function tocsin.end_maintenance(id uuid) is
    'Ends a window, or takes one back that has yet to come; what it put off starts within seconds. False: there is none.';
comment on function tocsin.windows_changed_at(tags text[], since timestamptz) is
    'When a window that concerned a job with these tags was last changed or ended, from an instant on; null: none was. Of those that are gone the audit log alone knows.';
comment on function tocsin.audit_maintenance() is
    'Writes the changes of windows of maintenance into the audit log.';
-- db/triggers/7_overlap.sql: runs of a job side by side, where its overlap is allow_all.

-- The most runs of a job that are under way at once; what comes due beyond waits, as with buffer_all.
create or replace function tocsin.max_parallel_runs()
returns integer language sql immutable parallel safe
    return 100;

-- Parts a run of the plan, which is claimed and about to start, from its job: the run with its lease becomes a row of
-- its own, and the job is planned for `following`, which starts at starts_at, and may be claimed again. Returns the edited_at of that row, also
-- when asked again; null: the run goes on as its job's own row, and what comes due waits for it.
-- The fence of the job leaves room for those of the run, so that of all executions of a job no two have the same.
create or replace function tocsin.part_run(
    claimed uuid, claim_fence bigint, at timestamptz, due timestamptz, run_id uuid, following timestamptz,
    starts_at timestamptz)
returns timestamptz language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    run tocsin.jobs;
    many bigint;
begin
    select * into run from tocsin.jobs r where r.id = part_run.run_id and r.run_of = claimed;
    if run.id is not null then
        return run.edited_at;
    end if;
    select * into job from tocsin.jobs j
    where j.id = claimed and j.fence = claim_fence and j.claimed_at = at and j.execution_id is not null
      and j.locked_until is not null and j.run_of is null
    for no key update skip locked;
    if job.id is null or job.overlap <> 'allow_all' or job.next_run is distinct from due or job.plan_error is not null then
        return null;
    end if;
    many := (select count(*) from tocsin.jobs r where r.run_of = job.id);
    if many >= tocsin.max_parallel_runs() - 1 then
        return null;
    end if;
    run := job;
    run.id := part_run.run_id;
    run.run_of := job.id;
    run.request := 'planned';
    run.name := null;
    run.description := null;
    run.tags := '{}';
    run.metadata := '{}';
    run.run_at := coalesce(job.claimed_for, job.scheduled_for, job.next_run);
    run.scheduled_for := run.run_at;
    run.cron := null;
    run.every_seconds := null;
    run.timezone := 'UTC';
    run.starts_at := null;
    run.ends_at := null;
    run.max_runs := null;
    run.dst_gap := 'run_after';
    run.dst_overlap := 'first';
    run.misfire := 'run_once';
    run.misfire_grace_seconds := null;
    run.max_catchup := 0;
    run.overlap := 'buffer_all';
    run.planned_at := clock_timestamp();
    run.unchecked := null;
    run.last_outcome := null;
    run.last_finished_at := null;
    run.skip_runs := null;
    run.skip_until := null;
    run.jitter_seconds := null;
    run.jitter_percent := null;
    run.calendars := null;
    run.on_closed := 'skip';
    run.min_gap_seconds := null;
    run.pending_runs := 0;
    run.consecutive_failures := 0;
    run.runs := 0;
    perform set_config('tocsin.runs', 'on', true);
    insert into tocsin.jobs select (run).* returning * into run;
    if run.id is not null then
        update tocsin.jobs j
        set next_run = case when j.max_runs <= j.runs + many + 1 then null else part_run.starts_at end,
            scheduled_for = case when j.max_runs <= j.runs + many + 1 then j.scheduled_for
                else coalesce(following, j.scheduled_for) end,
            attempt = 0, fence = j.fence + 1001, locked_until = null, locked_by = null,
            claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
        where j.id = job.id;
        if not found then  -- a trigger of users suppressed it
            raise exception using errcode = 'TC001', message = 'suppressed';
        end if;
    end if;
    perform set_config('tocsin.runs', '', true);
    if job.flow_key is not null and part_run.starts_at < clock_timestamp() + tocsin.wake_window() then
        perform tocsin.wake_flow(job.flow_key);
    end if;
    return run.edited_at;
exception when others then  -- a trigger or constraint of users: the run goes on as before
    return null;
end $$;

comment on function tocsin.max_parallel_runs() is
    'The most runs of a job that are under way at once; what comes due beyond waits, as with buffer_all.';
comment on function tocsin.part_run(claimed uuid, claim_fence bigint, at timestamptz, due timestamptz, run_id uuid, following timestamptz, starts_at timestamptz) is
    'Parts a run of the plan, which is claimed and about to start, from its job: the run with its lease becomes a row of its own, and the job is planned for `following`, which starts at starts_at, and may be claimed again. Returns the edited_at of that row, also when asked again; null: the run goes on as its job''s own row, and what comes due waits for it. The fence of the job leaves room for those of the run, so that of all executions of a job no two have the same.';
-- db/triggers/7_runs.sql: runs beside the plan of their job, each of which is a row of its own.

-- A run now or a replay inserts a row of tocsin.jobs with run_of, the id of its job. From then on it is what any
-- one-off is: claimed, leased, fenced and settled by the same statements, under its own id. Executions, their
-- idempotency keys and what a target's secrets are bound to have the id of the job.
-- The runs of a job are carried out one after the other, unless they are asked for with the overlap allow_all: see
-- tocsin.clear_way. One is active: it has a next_run and what is to be done,
-- which follows its job. The others wait without either. pending_runs of the job counts them all; while there
-- are any its plan waits, except for a run of the plan that has begun, which comes first with its retries.
-- A run that is over is deleted, and its outcome told to the job, with its settlement.

-- Gives a run what its job says is to be done.
create or replace function tocsin.defined_run(run tocsin.jobs, job tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    run.kind := job.kind;
    run.target := job.target;
    run.max_attempts := job.max_attempts;
    run.backoff_seconds := job.backoff_seconds;
    run.backoff_max_seconds := job.backoff_max_seconds;
    run.timeout_seconds := job.timeout_seconds;
    run.priority := job.priority;
    run.flow_key := job.flow_key;
    run.paused_at := job.paused_at;
    run.plan_error := job.plan_error;
    return run;
end $$;

-- Writes a run whose row is locked: when it may be claimed, and what is to be done.
create or replace function tocsin.write_run(run tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs r
    set next_run = run.next_run, planned_at = run.planned_at, locked_until = run.locked_until,
        kind = run.kind, target = run.target, max_attempts = run.max_attempts,
        backoff_seconds = run.backoff_seconds, backoff_max_seconds = run.backoff_max_seconds,
        timeout_seconds = run.timeout_seconds, priority = run.priority,
        paused_at = run.paused_at, plan_error = run.plan_error,
        flow_key = run.flow_key, validated = run.validated, edited_at = run.edited_at, fence = run.fence
    where r.id = run.id;
    perform set_config('tocsin.runs', '', true);
end $$;

-- How many runs the plan of a job has to wait for: with allow_all it waits for none.
create or replace function tocsin.count_pending(job tocsin.jobs)
returns integer language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when job.overlap = 'allow_all' then 0
        else (select count(*) from tocsin.jobs r where r.run_of = job.id) end;
end $$;

-- The first fence of runs that go beside others: with those of all runs it is a number that JavaScript has exactly.
create or replace function tocsin.first_fence_beside()
returns bigint language sql immutable parallel safe
    return 4503599627370496;

-- Whether some run of a job is active.
create or replace function tocsin.has_active_run(job_id uuid)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
        select from tocsin.jobs r
        where r.run_of = has_active_run.job_id and (r.next_run is not null or r.execution_id is not null));
end $$;

-- Whether a run of a job has to wait: for a run of its plan that has begun, or another one; with allow_all for room.
create or replace function tocsin.is_occupied(job tocsin.jobs)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when job.overlap = 'allow_all' then tocsin.max_parallel_runs() <= (
            select count(*) from tocsin.jobs r
            where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null))
        else job.attempt > 0 or tocsin.has_active_run(job.id) end;
end $$;

-- Whether a run of a job that is to go beside the others finds room.
create or replace function tocsin.has_room(job_id uuid)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return tocsin.max_parallel_runs() > (
        select count(*) from tocsin.jobs r
        where r.run_of = has_room.job_id and (r.next_run is not null or r.execution_id is not null));
end $$;

-- Whether some run of a job is unfinished: due, under way, or between two attempts, of its plan or beside it.
create or replace function tocsin.has_unfinished_run(job tocsin.jobs)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return job.attempt > 0 or num_nonnulls(job.locked_until, job.execution_id) > 0
        or coalesce(job.next_run <= clock_timestamp(), false)
        or exists (select from tocsin.jobs r where r.run_of = job.id);
end $$;

-- Lets a run that is asked for pass, as the overlap that was asked for with it has it, and returns the row of its job,
-- which is locked. skip: refuses the run while another is unfinished. buffer_one: those that wait are missed.
-- cancel_other: what is under way is cut off, and what waits for a retry is given up.
create or replace function tocsin.clear_way(job tocsin.jobs, policy text)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    under_way bigint;
begin
    if policy = 'skip' and tocsin.has_unfinished_run(job) then
        perform tocsin.refuse('overlap', 'is skip, and a run of the job is unfinished',
            'Ask again once that has ended, or leave overlap out: the run waits its turn then.');
    elsif policy = 'buffer_one' then
        perform set_config('tocsin.displaced', 'on', true);
        delete from tocsin.jobs r
        where r.run_of = job.id and r.next_run is null and r.execution_id is null and r.runs = 0 and r.overlap <> 'allow_all';
        perform set_config('tocsin.displaced', '', true);
    elsif policy = 'cancel_other' then
        perform set_config('tocsin.cancelled_for', 'overlap', true);
        for under_way in
            select j.execution_id from tocsin.jobs j
            where (j.id = job.id or j.run_of = job.id) and j.execution_id is not null
        loop
            perform tocsin.cancel(under_way);
        end loop;
        perform set_config('tocsin.cancelled_for', '', true);
        delete from tocsin.jobs r where r.run_of = job.id and r.attempt > 0 and r.execution_id is null;
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs j
        set next_run = null, attempt = 0, last_outcome = 'cancelled', last_finished_at = clock_timestamp(), runs = j.runs + 1,
            consecutive_failures = least(j.consecutive_failures, 2147483646) + 1,
            planned_at = case when j.run_at is not null or j.runs + 1 >= j.max_runs then j.planned_at end
        where j.id = job.id and j.attempt > 0 and j.execution_id is null;
        perform set_config('tocsin.runs', '', true);
    end if;
    select * into job from tocsin.jobs j where j.id = job.id;
    return job;
end $$;

-- Completes a run that is inserted, and counts it. Of what is given only the instant (run_at) and the request
-- are kept. Null: a trigger of users keeps its job from being written.
create or replace function tocsin.add_run(run tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    added tocsin.jobs := run;  -- with the defaults of columns that a later version adds
    policy text;
    woke boolean;
begin
    select * into job from tocsin.jobs j where j.id = run.run_of and j.run_of is null for no key update;
    if job.id is null then
        perform tocsin.refuse('run_of', format('%L is not the id of a job', run.run_of),
            'To run a job now: select tocsin.run_now(id).');
    end if;
    policy := case run.overlap when 'as_job' then job.overlap else run.overlap end;
    if policy in ('skip', 'buffer_one', 'cancel_other') then
        job := tocsin.clear_way(job, policy);
    elsif policy not in ('buffer_all', 'allow_all') then
        perform tocsin.refuse('overlap', format('cannot be %L', policy),
            'Write as_job, skip, buffer_one, buffer_all, cancel_other or allow_all.');
    end if;
    added.name := null;
    added.description := null;
    added.request := case when run.request = 'planned' then 'run_now' else coalesce(run.request, 'run_now') end;
    added.tags := '{}';
    added.metadata := '{}';
    added.run_at := coalesce(run.run_at, run.edited_at);
    added.scheduled_for := added.run_at;
    added.cron := null;
    added.every_seconds := null;
    added.timezone := 'UTC';
    added.starts_at := null;
    added.ends_at := null;
    added.max_runs := null;
    added.dst_gap := 'run_after';
    added.dst_overlap := 'first';
    added.misfire := 'run_once';
    added.misfire_grace_seconds := null;
    added.max_catchup := 0;
    added.overlap := case when 'allow_all' in (policy, job.overlap) then 'allow_all' else 'buffer_all' end;
    added.skip_runs := null;
    added.skip_until := null;
    added.calendars := null;
    added.on_closed := 'skip';
    added.min_gap_seconds := null;
    added.resumed_at := null;
    added.resume_missed := null;
    added.jitter_seconds := null;
    added.jitter_percent := null;
    added.next_run := null;
    added.attempt := 0;
    added.planned_at := run.edited_at;
    added.locked_until := null;
    added.locked_by := null;
    added.claimed_at := null;
    added.claimed_for := null;
    added.claimed_attempt := null;
    added.execution_id := null;
    added.unchecked := null;  -- its execution will
    added.last_outcome := null;
    added.last_finished_at := null;
    -- Of all executions of a job no two have the same fence: those of runs that go beside others count by themselves.
    added.fence := case when added.overlap = 'allow_all' then tocsin.first_fence_beside() + 1001 * (run.creation % 4000000000000)
        else job.fence end;
    added.creation := null;  -- its job has the entry
    added.pending_runs := 0;
    added.consecutive_failures := 0;
    added.runs := 0;
    -- A one-off that waits for its instant runs now instead.
    update tocsin.jobs j
    set pending_runs = j.pending_runs + case when j.overlap = 'allow_all' then 0 else 1 end,
        next_run = case
            when added.request = 'run_now' and j.run_at > added.run_at and j.next_run > added.run_at
                and j.locked_until is null and j.attempt = 0 then null
            else j.next_run end
    where j.id = job.id
    returning * into job;
    if job.id is null then
        return null;
    end if;
    added := tocsin.defined_run(added, job);
    added.validated := job.validated;
    added.edited_at := job.edited_at;
    if (case when added.overlap = 'allow_all' then not tocsin.has_room(job.id) else tocsin.is_occupied(job) end) then
        added.target := '{}';
        return added;
    end if;
    added.next_run := clock_timestamp();
    if added.flow_key is not null then
        perform tocsin.wake_flow(added.flow_key);
    elsif tocsin.is_soon(added, clock_timestamp()) then
        woke := tocsin.wake();
    end if;
    return added;
end $$;

-- What a person may change of a run: when it may be claimed, unless it waits for others or executes, and its
-- lease. A run whose next_run is taken away is given up.
create or replace function tocsin.edit_run(was tocsin.jobs, run tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
    edited tocsin.jobs := was;
begin
    if run.run_of is distinct from was.run_of then
        perform tocsin.refuse('run_of', 'says for good which job a run belongs to',
            'Leave it as it is. To run a job now: select tocsin.run_now(id).');
    end if;
    if was.next_run is not null and was.execution_id is null then
        edited.next_run := run.next_run;
    end if;
    run := tocsin.take_lease_away(was, run);
    edited.locked_until := run.locked_until;
    edited.locked_by := run.locked_by;
    edited.fence := greatest(run.fence, was.fence);
    edited.claimed_at := run.claimed_at;
    edited.claimed_for := run.claimed_for;
    edited.claimed_attempt := run.claimed_attempt;
    edited.execution_id := run.execution_id;
    edited.updated_at := moment;
    edited.edited_at := greatest(moment, was.edited_at + interval '1 microsecond');
    return edited;
end $$;

-- Makes the next run of a job active, unless one is, or a run of its plan has begun. A run whose row another
-- transaction has locked is passed over, as a settlement may not wait: its turn comes after the next run, or with
-- the upkeep.
create or replace function tocsin.start_run(job tocsin.jobs)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    run tocsin.jobs;
begin
    if tocsin.is_occupied(job) and not exists (
        select from tocsin.jobs r
        where r.run_of = job.id and r.overlap = 'allow_all' and r.next_run is null and r.execution_id is null and r.runs = 0
          and tocsin.has_room(job.id)) then
        return false;
    end if;
    select * into run from tocsin.jobs r
    where r.run_of = job.id and r.next_run is null and r.execution_id is null and r.runs = 0
      and (r.overlap = 'allow_all' or not tocsin.is_occupied(job))
    order by r.id limit 1
    for no key update skip locked;
    if run.id is null then
        return false;
    end if;
    run := tocsin.defined_run(run, job);
    run.validated := job.validated;
    run.edited_at := job.edited_at;
    run.fence := greatest(run.fence, job.fence);  -- so that of all executions of a job no two have the same
    run.next_run := clock_timestamp();
    run.planned_at := run.next_run;
    run.locked_until := null;
    perform tocsin.write_run(run);
    if run.flow_key is not null then
        perform tocsin.wake_flow(run.flow_key);
    end if;
    return true;
end $$;

-- Writes what a job says is to be done into its run, whose row is locked.
create or replace function tocsin.redefine_run(run tocsin.jobs, job tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    run := tocsin.defined_run(run, job);
    run.validated := job.validated;
    run.edited_at := greatest(job.edited_at, run.edited_at + interval '1 microsecond');
    perform tocsin.write_run(run);
end $$;

-- Lets the runs of a job follow it, and tells a job what became of its run. The settlement of a run has locked the
-- row of its job; any other write of an instance leaves a row out that another transaction has locked, so that no
-- instance waits here.
create or replace function tocsin.follow_runs()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    run tocsin.jobs;
    started boolean;
begin
    if new.run_of is not null then
        if new.next_run is null and new.execution_id is null and num_nonnulls(old.next_run, old.execution_id) > 0 then
            delete from tocsin.jobs where id = new.id;  -- see tocsin.end_run
        elsif new.last_finished_at is distinct from old.last_finished_at
            or (new.plan_error is not null and new.plan_error is distinct from old.plan_error) then
            perform set_config('tocsin.runs', 'on', true);
            update tocsin.jobs j
            set last_outcome = coalesce(new.last_outcome, j.last_outcome),
                last_finished_at = coalesce(new.last_finished_at, j.last_finished_at),
                plan_error = coalesce(new.plan_error, j.plan_error)
            where j.id = (
                select p.id from tocsin.jobs p where p.id = new.run_of for no key update skip locked);
            perform set_config('tocsin.runs', '', true);
        end if;
        return null;
    end if;
    if new.edited_at is distinct from old.edited_at or new.plan_error is distinct from old.plan_error then
        for run in
            select * from tocsin.jobs r where r.run_of = new.id and (r.next_run is not null or r.execution_id is not null)
        loop
            continue when tocsin.defined_run(run, new) *= run;
            if new.edited_at is not distinct from old.edited_at then  -- an instance, which may not wait
                select * into run from tocsin.jobs r where r.id = run.id for no key update skip locked;
            else
                select * into run from tocsin.jobs r where r.id = run.id for no key update;
            end if;
            continue when run.id is null;
            perform tocsin.redefine_run(run, new);
        end loop;
    end if;
    if new.locked_until is null and old.locked_until is not null and new.attempt = 0 then  -- see runs.check
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs r set next_run = clock_timestamp()
        where r.id in (
            select w.id from tocsin.jobs w
            where w.run_of = new.id and w.attempt = 0 and w.execution_id is null and w.next_run > clock_timestamp()
            for no key update skip locked);
        perform set_config('tocsin.runs', '', true);
    end if;
    if new.overlap = 'allow_all' then
        while tocsin.start_run(new) loop
            continue;
        end loop;
        return null;
    end if;
    started := tocsin.start_run(new);  -- by itself: Postgres need not call what cannot change the condition
    if not started and new.attempt = 0 and new.pending_runs <= old.pending_runs
        and not exists (select from tocsin.jobs r where r.run_of = new.id) then  -- the count was wrong
        perform set_config('tocsin.runs', 'on', true);
        update tocsin.jobs j set pending_runs = 0 where j.id = new.id;
        perform set_config('tocsin.runs', '', true);
    end if;
    return null;
end $$;

do $$ begin
    execute format($trigger$
        create or replace trigger jobs_850_follow_runs after update of %s on tocsin.jobs
            for each row when (new.pending_runs > 0 or new.run_of is not null or new.overlap = 'allow_all')
            execute function tocsin.follow_runs()
    $trigger$, tocsin.columns_beside_the_lease());
end $$;

-- Folds a run that has ended, by its settlement or as a person deleted it, into its job; the next run, or the plan,
-- goes on. A run that was asked for and did not begin is on record. The runs of a job that is deleted are deleted.
create or replace function tocsin.end_run()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    woke boolean;
    displaced constant boolean := coalesce(current_setting('tocsin.displaced', true), '') = 'on';
begin
    if old.run_of is null then
        delete from tocsin.jobs r where r.run_of = old.id;
        return null;
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set pending_runs = greatest(j.pending_runs - 1, 0),
        fence = case when old.fence >= tocsin.first_fence_beside() then j.fence else greatest(j.fence, old.fence) end,
        last_outcome = coalesce(old.last_outcome, j.last_outcome),
        last_finished_at = coalesce(old.last_finished_at, j.last_finished_at),
        consecutive_failures = case
            when old.runs = 0 or (old.last_outcome = 'cancelled' and old.consecutive_failures = 0)
                then j.consecutive_failures  -- did not begin, or a person cancelled it
            when old.consecutive_failures = 0 then 0
            else least(j.consecutive_failures, 2147483646) + 1 end,
        runs = j.runs + least(old.runs, 1)
    where j.id = old.run_of
    returning * into job;
    perform set_config('tocsin.runs', '', true);
    if old.runs = 0 and old.attempt = 0 then
        insert into tocsin.executions (
            job_id, fence, kind, scheduled_for, outcome, reason, missed_runs, missed_until, error)
        values (old.run_of, old.fence, old.kind, old.scheduled_for, 'missed',
            case when displaced then 'overlap' else 'deleted' end, 1, old.scheduled_for,
            case when displaced then 'waited its turn: another run was asked for with the overlap buffer_one'
                when job.id is null then 'the job was deleted before this run was started'
                else 'the run was deleted before this run was started' end);
    end if;
    if tocsin.is_claimable(job) and job.next_run < clock_timestamp() + tocsin.wake_window() then
        woke := tocsin.wake();
    elsif tocsin.is_flow_claimable(job) and job.next_run < clock_timestamp() + tocsin.wake_window() then
        perform tocsin.wake_flow(job.flow_key);
    end if;
    return null;
end $$;

create or replace trigger jobs_850_end_run after delete on tocsin.jobs
    for each row when (old.pending_runs > 0 or old.run_of is not null or old.overlap = 'allow_all')
    execute function tocsin.end_run();

-- Locks the job of a run for the settlement of the run; false: another transaction has it locked. Never waits.
create or replace function tocsin.hold_job(job_id uuid)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform from tocsin.jobs j where j.id = hold_job.job_id for no key update skip locked;
    return found or not exists (select from tocsin.jobs j where j.id = hold_job.job_id);
end $$;

-- Ends the lease of a job that ran out, for a run of it that was claimed, and records its execution as lost. Such
-- a lease stands beside runs when its plan was moved while it executed. False: the lease still holds, or another
-- transaction has the row locked.
create or replace function tocsin.end_lease(job_id uuid, ended_by timestamptz)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    refused text;
begin
    select * into job from tocsin.jobs j where j.id = end_lease.job_id for no key update skip locked;
    if job.id is null or job.locked_until > ended_by then
        return false;
    end if;
    if job.execution_id is not null then
        refused := tocsin.record_lost(json_build_array(json_build_object(
            'id', job.execution_id, 'job_id', job.id, 'fence', job.fence, 'kind', job.kind,
            'scheduled_for', job.claimed_for, 'attempt', job.claimed_attempt,
            'started_at', tocsin.earliest_start(job.claimed_at,
                -- claimed_for of a retry is the instant of its run; next_run is where the plan was moved to, if it was
                case when job.claimed_for < job.claimed_at then job.next_run else job.claimed_for end),
            'instance', job.locked_by, 'lease_ended_at', job.locked_until)));
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set locked_until = null, locked_by = null,
        claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
    where j.id = job.id;
    perform set_config('tocsin.runs', '', true);
    return found;
end $$;

-- Whether a run has ended but was not deleted.
create or replace function tocsin.is_over(run tocsin.jobs)
returns boolean language sql stable
    return run.next_run is null and (run.locked_until < clock_timestamp() or (run.execution_id is null and run.runs > 0));

-- What is wrong with the runs of jobs, among the newest :most runs and the newest :most jobs of each state that may
-- have some; null: all. What is written through the triggers leaves that behind only where another transaction had a
-- row locked. A run that is over is deleted with its settlement, and a run whose next_run was taken away while it
-- executed, once its lease ended. In one statement, as there may be many runs of which nothing is wrong.
create or replace function tocsin.unsound_runs(most bigint default null)
returns table (job_id uuid, problem text) language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
    return query
    with looked_at as (
        (select run_of as id from tocsin.jobs where run_of is not null order by run_of desc, id desc limit most)
        union
        select aside.id
        from unnest('{invalid,paused,retrying,runs}'::text[]) as listed (state)
        cross join lateral (
            select j.id, j.pending_runs from tocsin.jobs j
            where tocsin.is_aside(j) and tocsin.aside_state(j) = listed.state
            order by j.id desc limit most
        ) as aside
        where aside.pending_runs > 0
    )
    select looked_at.id, case
        when job.id is null then 'runs are left of a job that is gone'
        when runs.over > 0 then 'a run that is over was not deleted'
        when job.overlap <> 'allow_all' and job.pending_runs <> runs.many
            then format('pending_runs is %s, and it has %s', job.pending_runs, runs.many)
        when runs.differing > 0 then 'a run is not what the job says is to be done, or paused when the job is not'
        else 'a run waits though nothing is in its way' end
    from looked_at
    left join tocsin.jobs job on job.id = looked_at.id and job.run_of is null
    cross join lateral (
        select count(*) as many, count(*) filter (where num_nonnulls(r.next_run, r.execution_id) > 0) as active,
            count(*) filter (where tocsin.is_over(r)) as over,
            count(*) filter (where num_nonnulls(r.next_run, r.execution_id) > 0 and not
                row(r.kind, r.target, r.max_attempts, r.backoff_seconds, r.backoff_max_seconds,
                    r.timeout_seconds, r.paused_at, r.plan_error)::record
                operator(pg_catalog.*=) row(job.kind, job.target, job.max_attempts, job.backoff_seconds,
                    job.backoff_max_seconds, job.timeout_seconds, job.paused_at, job.plan_error)::record) as differing
        from tocsin.jobs r where r.run_of = looked_at.id
    ) as runs
    where job.id is null or runs.over > 0 or (job.overlap <> 'allow_all' and job.pending_runs <> runs.many) or runs.differing > 0
       or (runs.many > 0 and runs.active = 0 and job.attempt = 0);
end $$;

-- Mends what is wrong with the runs of jobs, and returns of how many: see tocsin.unsound_runs. Once an hour. A job
-- whose rows another transaction has locked, or refuses to be written, is left for the next hour.
create or replace function tocsin.resume_runs()
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one uuid;
    mended bigint := 0;
begin
    for one in
        select u.job_id from tocsin.unsound_runs() as u
    loop
        begin
            mended := mended + tocsin.mend_runs(one)::integer;
        exception when others then
            continue;  -- the doctor names it
        end;
    end loop;
    return mended;
end $$;

-- Mends what is wrong with the runs of one job; false: another transaction has it locked.
create or replace function tocsin.mend_runs(job_id uuid)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    run tocsin.jobs;
begin
    select * into job from tocsin.jobs j where j.id = mend_runs.job_id and j.run_of is null for no key update skip locked;
    if job.id is null and exists (select from tocsin.jobs j where j.id = mend_runs.job_id and j.run_of is null) then
        return false;
    end if;
    delete from tocsin.jobs where id in (
        select r.id from tocsin.jobs r
        where r.run_of = mend_runs.job_id
          and (tocsin.is_over(r) or (job.id is null and (r.execution_id is null or r.locked_until < clock_timestamp())))
        for update skip locked);
    if job.id is null then
        return true;
    end if;
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs j
    set pending_runs = tocsin.count_pending(job)
    where j.id = job.id returning * into job;
    perform set_config('tocsin.runs', '', true);
    if job.id is null then  -- a trigger of users suppressed that
        return false;
    end if;
    for run in
        select * from tocsin.jobs r
        where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null)
          and not tocsin.defined_run(r, job) *= r
        for no key update skip locked
    loop
        perform tocsin.redefine_run(run, job);
    end loop;
    perform tocsin.start_run(job);
    return true;
end $$;

-- How a job stands that has runs of its own, by the one that is active.
create or replace function tocsin.state_of_runs(job_id uuid)
returns text language sql stable
    return case
        when exists (select from tocsin.jobs r where r.run_of = job_id and r.locked_until > now()) then 'executing'
        when exists (select from tocsin.jobs r where r.run_of = job_id and r.attempt > 0) then 'retrying'
        else 'scheduled' end;

-- Asks for a run beside the plan: a new one, due now, or `occurrence` again with its identity. Each call
-- is a run of its own, and they are carried out one after the other, before the planned run goes on. A
-- one-off that waits for its instant runs now instead, and a run that waits for its retry is retried
-- now. Returns the job; no row: there is no such job, or a retry is pending, which a replay must not displace.
create or replace function tocsin.run_now(job_id uuid, occurrence timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query select j.* from tocsin.run_now(job_id, occurrence, 'buffer_all') as j;
end $$;

-- Asks for a run beside the plan under an overlap, in place of waiting for a turn: as_job, as the job has it, skip,
-- buffer_one, buffer_all, cancel_other or allow_all: select tocsin.run_now(id, null, 'skip'). See tocsin.clear_way. Returns
-- the job; no row as without an overlap, or as it refuses the run.
create or replace function tocsin.run_now(job_id uuid, occurrence timestamptz, overlap text)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    job tocsin.jobs;
    waiting tocsin.jobs;  -- for its retry
    moment timestamptz;
begin
    select * into job from tocsin.jobs j where j.id = run_now.job_id and j.run_of is null for no key update;
    if job.id is null then
        return;
    end if;
    if coalesce(case overlap when 'as_job' then job.overlap else overlap end, 'buffer_all') not in ('buffer_one', 'buffer_all') then
        waiting := null;  -- tocsin.clear_way says what becomes of a retry
    elsif job.attempt > 0 and job.locked_until is null then
        waiting := job;
    elsif job.pending_runs > 0 then
        select * into waiting from tocsin.jobs r
        where r.run_of = job.id and r.attempt > 0 and r.locked_until is null and r.next_run is not null
        limit 1 for no key update;
    end if;
    moment := clock_timestamp();
    if waiting.id is not null and occurrence is not null then
        return;
    elsif waiting.next_run > moment then
        update tocsin.jobs j set next_run = moment where j.id = waiting.id;
        if not found then
            return;
        end if;
    else
        -- No two runs of a job have the same identity, whatever the resolution of the clock.
        while occurrence is null and (moment = job.scheduled_for or exists (
            select from tocsin.jobs r where r.run_of = job.id and r.scheduled_for = moment)) loop
            moment := moment + interval '1 microsecond';
        end loop;
        insert into tocsin.jobs (run_of, request, kind, target, run_at, overlap)
        values (job.id, case when occurrence is null then 'run_now' else 'replay' end,
            job.kind, '{}', coalesce(occurrence, moment), coalesce(run_now.overlap, 'buffer_all'));
        if not found then
            return;
        end if;
    end if;
    return query select j.* from tocsin.jobs j where j.id = job.id;
end $$;

comment on function tocsin.defined_run(run tocsin.jobs, job tocsin.jobs) is
    'Gives a run what its job says is to be done.';
comment on function tocsin.write_run(run tocsin.jobs) is
    'Writes a run whose row is locked: when it may be claimed, and what is to be done.';
comment on function tocsin.count_pending(job tocsin.jobs) is
    'How many runs the plan of a job has to wait for: with allow_all it waits for none.';
comment on function tocsin.first_fence_beside() is
    'The first fence of runs that go beside others: with those of all runs it is a number that JavaScript has exactly.';
comment on function tocsin.has_active_run(job_id uuid) is
    'Whether some run of a job is active.';
comment on function tocsin.is_occupied(job tocsin.jobs) is
    'Whether a run of a job has to wait: for a run of its plan that has begun, or another one; with allow_all for room.';
comment on function tocsin.has_room(job_id uuid) is
    'Whether a run of a job that is to go beside the others finds room.';
comment on function tocsin.has_unfinished_run(job tocsin.jobs) is
    'Whether some run of a job is unfinished: due, under way, or between two attempts, of its plan or beside it.';
comment on function tocsin.clear_way(job tocsin.jobs, policy text) is
    'Lets a run that is asked for pass, as the overlap that was asked for with it has it, and returns the row of its job, which is locked. skip: refuses the run while another is unfinished. buffer_one: those that wait are missed. cancel_other: what is under way is cut off, and what waits for a retry is given up.';
comment on function tocsin.add_run(run tocsin.jobs) is
    'Completes a run that is inserted, and counts it. Of what is given only the instant (run_at) and the request are kept. Null: a trigger of users keeps its job from being written.';
comment on function tocsin.edit_run(was tocsin.jobs, run tocsin.jobs) is
    'What a person may change of a run: when it may be claimed, unless it waits for others or executes, and its lease. A run whose next_run is taken away is given up.';
comment on function tocsin.start_run(job tocsin.jobs) is
    'Makes the next run of a job active, unless one is, or a run of its plan has begun. A run whose row another transaction has locked is passed over, as a settlement may not wait: its turn comes after the next run, or with the upkeep.';
comment on function tocsin.redefine_run(run tocsin.jobs, job tocsin.jobs) is
    'Writes what a job says is to be done into its run, whose row is locked.';
comment on function tocsin.follow_runs() is
    'Lets the runs of a job follow it, and tells a job what became of its run. The settlement of a run has locked the row of its job; any other write of an instance leaves a row out that another transaction has locked, so that no instance waits here.';
comment on function tocsin.end_run() is
    'Folds a run that has ended, by its settlement or as a person deleted it, into its job; the next run, or the plan, goes on. A run that was asked for and did not begin is on record. The runs of a job that is deleted are deleted.';
comment on function tocsin.hold_job(job_id uuid) is
    'Locks the job of a run for the settlement of the run; false: another transaction has it locked. Never waits.';
comment on function tocsin.end_lease(job_id uuid, ended_by timestamptz) is
    'Ends the lease of a job that ran out, for a run of it that was claimed, and records its execution as lost. Such a lease stands beside runs when its plan was moved while it executed. False: the lease still holds, or another transaction has the row locked.';
comment on function tocsin.is_over(run tocsin.jobs) is
    'Whether a run has ended but was not deleted.';
comment on function tocsin.unsound_runs(most bigint) is
    'What is wrong with the runs of jobs, among the newest :most runs and the newest :most jobs of each state that may have some; null: all. What is written through the triggers leaves that behind only where another transaction had a row locked. A run that is over is deleted with its settlement, and a run whose next_run was taken away while it executed, once its lease ended. In one statement, as there may be many runs of which nothing is wrong.';
comment on function tocsin.resume_runs() is
    'Mends what is wrong with the runs of jobs, and returns of how many: see tocsin.unsound_runs. Once an hour. A job whose rows another transaction has locked, or refuses to be written, is left for the next hour.';
comment on function tocsin.mend_runs(job_id uuid) is
    'Mends what is wrong with the runs of one job; false: another transaction has it locked.';
comment on function tocsin.state_of_runs(job_id uuid) is
    'How a job stands that has runs of its own, by the one that is active.';
comment on function tocsin.run_now(job_id uuid, occurrence timestamptz) is
    'Asks for a run beside the plan: a new one, due now, or `occurrence` again with its identity. Each call is a run of its own, and they are carried out one after the other, before the planned run goes on. A one-off that waits for its instant runs now instead, and a run that waits for its retry is retried now. Returns the job; no row: there is no such job, or a retry is pending, which a replay must not displace.';
comment on function tocsin.run_now(job_id uuid, occurrence timestamptz, overlap text) is
    'Asks for a run beside the plan under an overlap, in place of waiting for a turn: as_job, as the job has it, skip, buffer_one, buffer_all, cancel_other or allow_all: select tocsin.run_now(id, null, ''skip''). See tocsin.clear_way. Returns the job; no row as without an overlap, or as it refuses the run.';
-- db/triggers/7_skip.sql: skips runs of the plan of a job, and takes that back.

-- Whether the next run of the plan is to be skipped; a run that has begun goes on with its retries.
create or replace function tocsin.is_skipped(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.attempt = 0 and coalesce(job.skip_runs > 0 or job.skip_until > coalesce(job.scheduled_for, job.next_run), false);

-- Skips the next so many runs of the plan, or all before an instant, in place of what was to be skipped before:
-- select tocsin.skip('nightly-report', 3); select tocsin.skip('nightly-report', until => '2030-02-01 09:00Z');
-- Each is dropped by an instance when its time comes, and on record as missed, reason skipped; until then
-- tocsin.unskip takes it back. The plan stays as it is, runs that were asked for are carried out, and so is a run that
-- has begun. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.
create or replace function tocsin.skip(job uuid, runs integer default null, until timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stored tocsin.jobs;
begin
    if num_nonnulls(runs, until) <> 1 then
        perform tocsin.refuse(case when runs is null then 'skip_runs' else 'skip_until' end,
            'has to be given alone', 'Write how many runs to skip, or until when: tocsin.skip(''nightly-report'', 3).');
    end if;
    if until <= clock_timestamp() then
        perform tocsin.refuse('skip_until', 'has passed', 'Write a later instant.');
    end if;
    select * into stored from tocsin.jobs j where j.id = skip.job and j.run_of is null;
    if stored.id is not null and stored.next_run is null and stored.planned_at is not null and stored.locked_until is null
        and stored.pending_runs = 0 then
        perform tocsin.refuse(case when runs is null then 'skip_until' else 'skip_runs' end,
            'has nothing to skip: no run of the job is planned', 'Give the job a schedule that has runs left.');
    end if;
    return query
        update tocsin.jobs j set skip_runs = skip.runs, skip_until = skip.until
        where j.id = skip.job and j.run_of is null returning j.*;
end $$;

-- Takes back what is to be skipped and has not come yet. Returns the job; no row as above.
create or replace function tocsin.unskip(job uuid)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query
        update tocsin.jobs j set skip_runs = null, skip_until = null
        where j.id = unskip.job and j.run_of is null returning j.*;
end $$;

-- The id of a job that is given by its name or by its id as text; null: there is none.
create or replace function tocsin.job_id(job text)
returns uuid language sql stable
    return coalesce(
        (select j.id from tocsin.jobs j where j.name = job_id.job),
        case when job_id.job ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then job_id.job::uuid end);

-- Skips runs of the plan of a job that is given by its name, or by its id as text: the next so many (runs, from 1), or all
-- before an instant (until). Each is on record as missed, reason skipped, when its time comes; until then tocsin.unskip takes
-- it back. Returns the job; no row: a trigger of users suppresses the change, or there is no such job.
create or replace function tocsin.skip(job text, runs integer default null, until timestamptz default null)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.skip(tocsin.job_id(skip.job), skip.runs, skip.until) as s;
end;

-- Takes back what is to be skipped of a job, given by its name or by its id as text, and has not come yet. Returns the job;
-- no row: there is no such job.
create or replace function tocsin.unskip(job text)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.unskip(tocsin.job_id(unskip.job)) as s;
end;

comment on function tocsin.is_skipped(job tocsin.jobs) is
    'Whether the next run of the plan is to be skipped; a run that has begun goes on with its retries.';
comment on function tocsin.skip(job uuid, runs integer, until timestamptz) is
    'Skips the next so many runs of the plan, or all before an instant, in place of what was to be skipped before: select tocsin.skip(''nightly-report'', 3); select tocsin.skip(''nightly-report'', until => ''2030-02-01 09:00Z''); Each is dropped by an instance when its time comes, and on record as missed, reason skipped; until then tocsin.unskip takes it back. The plan stays as it is, runs that were asked for are carried out, and so is a run that has begun. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.';
comment on function tocsin.unskip(job uuid) is
    'Takes back what is to be skipped and has not come yet. Returns the job; no row as above.';
comment on function tocsin.job_id(job text) is
    'The id of a job that is given by its name or by its id as text; null: there is none.';
comment on function tocsin.skip(job text, runs integer, until timestamptz) is
    'Skips runs of the plan of a job that is given by its name, or by its id as text: the next so many (runs, from 1), or all before an instant (until). Each is on record as missed, reason skipped, when its time comes; until then tocsin.unskip takes it back. Returns the job; no row: a trigger of users suppresses the change, or there is no such job.';
comment on function tocsin.unskip(job text) is
    'Takes back what is to be skipped of a job, given by its name or by its id as text, and has not come yet. Returns the job; no row: there is no such job.';
-- db/triggers/7_state.sql: how a job stands.

-- Whether an instance that ran in the last day can run jobs of a kind; the two that come with Tocsin every
-- one can.
create or replace function tocsin.has_kind(kind text)
returns boolean language sql stable
    return has_kind.kind in ('http', 'amqp') or exists (
        select from tocsin.kinds k
        where k.kind = has_kind.kind and k.told_at > now() - interval '1 day');

-- How a job stands, in one word: select tocsin.state(j), j.* from tocsin.jobs j;
create or replace function tocsin.state(job tocsin.jobs)
returns text language sql stable
    return case
        when job.plan_error is not null then 'invalid'
        when job.locked_until > now() then 'executing'
        when (job.pending_runs > 0 or job.overlap = 'allow_all') and tocsin.state_of_runs(job.id) = 'executing' then 'executing'
        when job.kind not in ('http', 'amqp')
            and (job.next_run is not null or job.planned_at is null or job.pending_runs > 0)
            and not tocsin.has_kind(job.kind) then 'invalid'
        when job.paused_at is not null then 'paused'
        when job.pending_runs > 0 then
            case when job.attempt > 0 then 'retrying' else tocsin.state_of_runs(job.id) end
        when job.overlap = 'allow_all' and tocsin.state_of_runs(job.id) = 'retrying' then 'retrying'
        when job.next_run is null and job.planned_at is not null then
            case when job.last_outcome in ('failed', 'timed_out', 'cancelled', 'lost')
                then 'failed' else 'finished' end
        when job.attempt > 0 then 'retrying'
        else 'scheduled'
    end;

-- Whether a job goes on although its last runs failed: select * from tocsin.jobs j where tocsin.failing(j);
-- How many they are stands in consecutive_failures.
create or replace function tocsin.failing(job tocsin.jobs)
returns boolean language sql immutable
    return job.consecutive_failures > 0 and job.next_run is not null;

-- Whether jobs_aside has a job: the condition of that index.
create or replace function tocsin.is_aside(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.run_of is null and (job.plan_error is not null or job.paused_at is not null or job.pending_runs > 0
        or (job.next_run is null and job.planned_at is not null)
        or (job.attempt > 0 and job.locked_until is null));

-- Under which state jobs_aside has a job, before leases, kinds that no instance has and the stand of its runs are
-- looked at, which tocsin.state does; 'runs': the job has some. The key of that index.
create or replace function tocsin.aside_state(job tocsin.jobs)
returns text language sql immutable parallel safe
    return case
        when job.plan_error is not null then 'invalid'
        when job.paused_at is not null then 'paused'
        when job.pending_runs = 0 and job.next_run is null and job.planned_at is not null then
            case when job.last_outcome in ('failed', 'timed_out', 'cancelled', 'lost') then 'failed' else 'finished' end
        when job.attempt > 0 then 'retrying'
        else 'runs'
    end;

-- The kinds of jobs that no instance has: a step from kind to kind along jobs_other_kinds.
create or replace function tocsin.unsupported_kinds()
returns setof text language sql stable
begin atomic
    with recursive kinds as (
        select min(kind) as kind from tocsin.jobs where kind not in ('http', 'amqp')
        union all
        select (select min(kind) from tocsin.jobs where kind not in ('http', 'amqp') and kind > kinds.kind)
        from kinds where kinds.kind is not null
    )
    select kind from kinds where kind is not null and not tocsin.has_kind(kind);
end;

comment on function tocsin.has_kind(kind text) is
    'Whether an instance that ran in the last day can run jobs of a kind; the two that come with Tocsin every one can.';
comment on function tocsin.state(job tocsin.jobs) is
    'How a job stands, in one word: select tocsin.state(j), j.* from tocsin.jobs j;';
comment on function tocsin.failing(job tocsin.jobs) is
    'Whether a job goes on although its last runs failed: select * from tocsin.jobs j where tocsin.failing(j); How many they are stands in consecutive_failures.';
comment on function tocsin.is_aside(job tocsin.jobs) is
    'Whether jobs_aside has a job: the condition of that index.';
comment on function tocsin.aside_state(job tocsin.jobs) is
    'Under which state jobs_aside has a job, before leases, kinds that no instance has and the stand of its runs are looked at, which tocsin.state does; ''runs'': the job has some. The key of that index.';
comment on function tocsin.unsupported_kinds() is
    'The kinds of jobs that no instance has: a step from kind to kind along jobs_other_kinds.';
-- db/triggers/8_alerts.sql: alert rules, their channels, and how alerts are delivered.

-- No trigger on jobs or executions knows of alerts: one instance at a time reads what has ended, in batches, and judges
-- it (app/scheduler/alerts.py). What it tells is a row of tocsin.alerts, in the transaction that moves the cursor.

-- Refuses a rule or a channel, naming the column, with what to write instead.
create or replace function tocsin.refuse_alert(table_name text, field text, message text, hint text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = table_name,
        column = field, message = field || ' ' || message, hint = hint;
end $$;

-- A rule names channels that there are. A rule that is changed begins anew.
create or replace function tocsin.check_alert_rule()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    unknown text;
begin
    unknown := (
        select given.channel from unnest(new.channels) with ordinality as given (channel, place)
        where given.channel is not null and not exists (select from tocsin.alert_channels c where c.name = given.channel)
        order by place limit 1);
    if unknown is not null then
        perform tocsin.refuse_alert('alert_rules', 'channels', format('has %L, which is no channel', left(unknown, 200)),
            'Make the channel first, or leave it out.');
    end if;
    if tg_op = 'UPDATE' then
        new.updated_at := clock_timestamp();
        if row(new.events, new.job_id, new.tag, new.after, new.seconds, new.reasons, new.factor, new.more_than)
            is distinct from row(
                old.events, old.job_id, old.tag, old.after, old.seconds, old.reasons, old.factor, old.more_than) then
            new.begun_at := clock_timestamp();
            delete from tocsin.alert_states s where s.rule_id = new.id;
        end if;
    end if;
    return new;
end $$;

create or replace trigger alert_rules_100_check before insert or update on tocsin.alert_rules
    for each row execute function tocsin.check_alert_rule();

-- Before there is a rule nobody reads what ends; from the first one on the cursor begins here. With what may be under
-- way: earlier ends are told apart by begun_at. By statement, as the first rules may come together.
create or replace function tocsin.begin_alerts()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from tocsin.alert_rules r where not exists (select from added where added.id = r.id)) then
        insert into tocsin.alert_cursor as c (after_id, pending)
        select greatest(coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0) - 10000, 0),
            array(select j.execution_id from tocsin.jobs j where j.locked_until is not null and j.execution_id is not null)
        on conflict (one) do update
        set after_id = excluded.after_id, pending = excluded.pending, mark_id = null, mark_xid = null, marked_at = null;
    end if;
    perform pg_notify('tocsin_alerts', '');
    return null;
end $$;

create or replace trigger alert_rules_700_begin after insert on tocsin.alert_rules
    referencing new table as added for each statement execute function tocsin.begin_alerts();

-- A channel that rules or other channels name stays, under its name.
create or replace function tocsin.check_alert_channel()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    user_of_it text;
begin
    if tg_op <> 'DELETE' and new.fallback is not null
        and not exists (select from tocsin.alert_channels c where c.name = new.fallback) then
        perform tocsin.refuse_alert('alert_channels', 'fallback', format('is %L, which is no channel', left(new.fallback, 200)),
            'Make that channel first, or leave it out.');
    end if;
    if tg_op = 'INSERT' then
        return new;
    elsif tg_op = 'UPDATE' then
        new.updated_at := clock_timestamp();
        if new.name = old.name then
            return new;
        end if;
    end if;
    user_of_it := (select min(format('rule %L', r.name)) from tocsin.alert_rules r where old.name = any (r.channels));
    if user_of_it is null then
        user_of_it := (
            select min(format('channel %L', c.name)) from tocsin.alert_channels c
            where c.fallback = old.name and c.id <> old.id);
    end if;
    if user_of_it is not null then
        perform tocsin.refuse_alert('alert_channels', 'name', format('is in use by the %s', user_of_it),
            'Take the channel out of rules and other channels first.');
    end if;
    return coalesce(new, old);
end $$;

create or replace trigger alert_channels_100_check before insert or update or delete on tocsin.alert_channels
    for each row execute function tocsin.check_alert_channel();

-- What a channel could not deliver is told by the one that it names for that, once: of a message that fails there too
-- there is the record. So is what is over: see tell in db/queries/alerts.sql, by which it may be told there already.
create or replace function tocsin.fall_back()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into tocsin.alerts (
        rule_id, rule, event, of_event, job_id, job, many, since, execution_id, why, channel, is_reminder, instead_of)
    select new.rule_id, new.rule, new.event, new.of_event, new.job_id, new.job, new.many, new.since, new.execution_id, new.why,
        c.fallback, new.is_reminder, new.id
    from tocsin.alert_channels c
    where c.name = new.channel and c.fallback is not null
      and not (new.event = 'recovered' and exists (
          select from (
              select t.* from tocsin.alerts t where t.job_id = new.job_id
              union all
              select t.* from tocsin.alerts t where new.job_id is null and t.job_id is null
          ) as t
          where t.rule_id = new.rule_id and t.event = new.event and t.of_event = new.of_event and t.since = new.since
            and t.channel = c.fallback));
    return null;
end $$;

create or replace trigger alerts_700_fall_back after update of failed_at on tocsin.alerts
    for each row when (new.failed_at is not null and old.failed_at is null and new.channel is not null
        and new.instead_of is null and new.event <> 'test')
    execute function tocsin.fall_back();

-- Has a channel told something, to see whether that arrives: select tocsin.test_channel('ops');
-- Returns the alert, in which delivered_at says so; no row: there is no such channel.
create or replace function tocsin.test_channel(channel text)
returns setof tocsin.alerts language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query
        insert into tocsin.alerts (event, why, channel)
        select 'test', 'asked for by ' || left(tocsin.actor(), 1000), c.name
        from tocsin.alert_channels c where c.name = test_channel.channel
        returning *;
    perform pg_notify('tocsin_alerts', '');
end $$;

-- Makes the job that delivers some alerts as one message. A delivery that others forbid is on record as failed; one that a
-- lock keeps from being made is left for the next pass.
create or replace function tocsin.deliver_message(alert_ids uuid[], kind text, target jsonb, metadata jsonb)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
    problem text;
begin
    begin
        insert into tocsin.jobs as j (
            kind, target, metadata, run_at, max_attempts, backoff_seconds, backoff_max_seconds, description)
        values (deliver_message.kind, deliver_message.target, deliver_message.metadata, clock_timestamp(), 12, 2, 600,
            'Delivers an alert')
        returning j.id into made;
        if made is null then
            problem := 'a trigger suppressed the job that was to deliver it';
        end if;
    exception when lock_not_available or deadlock_detected then
        return;
    when others then
        problem := left(sqlerrm, 1000);
    end;
    update tocsin.alerts a
    set delivery_id = made, sent_at = clock_timestamp(),
        failed_at = case when problem is not null then clock_timestamp() end, error = problem
    where a.id = any (alert_ids);
end $$;

-- For how many seconds the last runs of a job before an execution lasted that succeeded: the median of up to twenty;
-- null: there are fewer than five among its last hundred executions.
create or replace function tocsin.usual_seconds(job uuid, before_id bigint)
returns float8 language sql stable
begin atomic
    select case when count(*) >= 5 then percentile_cont(0.5) within group (
        order by extract(epoch from found.finished_at - found.started_at)::float8) end
    from (
        select x.started_at, x.finished_at
        from (
            select p.started_at, p.finished_at, p.outcome, p.id from tocsin.executions p
            where p.job_id = usual_seconds.job and p.id < usual_seconds.before_id
            order by p.id desc limit 100
        ) as x
        where x.outcome = 'succeeded' and x.started_at is not null
        order by x.id desc limit 20
    ) as found;
end;

-- Why a rule tells of a backlog: what is due, and was not started, but for what delivers alerts. Null: there is none. A tag is looked for among the jobs
-- that have been due for longest, however many have it, and only if that decides nothing by its index, however many are due.
create or replace function tocsin.alert_backlog(rule tocsin.alert_rules)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    most constant bigint := coalesce(rule.more_than, 0) + 1;
    longest constant bigint := case when rule.tag is null then most else greatest(most, 10000) end;
    old constant timestamptz := now() - rule.seconds::float8 * interval '1 second';
    is_whole boolean := true;
    many bigint := 0;
    first timestamptz;
begin
    if rule.job_id is not null then
        select count(*), min(due.at) into many, first
        from (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where j.id = rule.job_id and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j))
              and greatest(j.next_run, j.locked_until) <= now()
            union all
            select greatest(j.next_run, j.locked_until) from tocsin.jobs j
            where j.run_of = rule.job_id and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j))
              and greatest(j.next_run, j.locked_until) <= now()
        ) as due;
    else
        select count(*) filter (where due.is_meant), min(due.at) filter (where due.is_meant), count(*) < longest
        into many, first, is_whole
        from (
            (
                select greatest(j.next_run, j.locked_until) as at, rule.tag is null or j.tags @> array[rule.tag] as is_meant
                from tocsin.jobs j
                where tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
                  and not exists (select from tocsin.alerts a where a.delivery_id = j.id)
                order by 1 limit longest
            ) union all (
                select greatest(j.next_run, j.locked_until), rule.tag is null or j.tags @> array[rule.tag]
                from tocsin.jobs j
                where tocsin.is_flow_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
                  and not exists (select from tocsin.alerts a where a.delivery_id = j.id)
                order by 1 limit longest
            )
        ) as due;
    end if;
    if rule.tag is not null and not is_whole and many < most and not coalesce(first <= old, false) then
        select count(*), min(due.at) into many, first
        from (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where j.id = any (array(select k.id from tocsin.jobs k where k.tags @> array[rule.tag] and k.tags <> '{}'))
              and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and greatest(j.next_run, j.locked_until) <= now()
        ) as due;
    end if;
    return case
        when many > rule.more_than then format('more than %s are due and not started, the first since %s',
            rule.more_than, tocsin.told_at(first))
        when first <= old then format('the first has been due since %s and is not started', tocsin.told_at(first)) end;
end $$;

-- Of which kinds jobs are due that no instance runs which is connected, for so many seconds; null: there are none. A step
-- from kind to kind.
create or replace function tocsin.alert_no_instance(seconds float8)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    alive constant text[] := tocsin.kinds_alive();
    moment constant timestamptz := now() - alert_no_instance.seconds * interval '1 second';
    step text;
    found text[] := '{}';
begin
    step := (select min(j.kind) from tocsin.jobs j where j.kind not in ('http', 'amqp'));
    while step is not null and cardinality(found) < 5 loop
        if not step = any (alive) and exists (
            select from tocsin.jobs j
            where j.kind = step and j.kind not in ('http', 'amqp')
              and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and greatest(j.next_run, j.locked_until) <= moment) then
            found := found || step;
        end if;
        step := (select min(j.kind) from tocsin.jobs j where j.kind not in ('http', 'amqp') and j.kind > step);
    end loop;
    return case when found <> '{}' then
        format('jobs of the kind %s are due, and no instance runs it', array_to_string(found, ', ')) end;
end $$;

-- What the audit log keeps of an alert rule.
create or replace function tocsin.audited_alert_rule(rule tocsin.alert_rules)
returns jsonb language sql stable
    return to_jsonb(rule) - '{id,created_at,updated_at,begun_at}'::text[];

-- What the audit log keeps of a channel; of its target, what it keeps of targets of jobs.
create or replace function tocsin.audited_alert_channel(channel tocsin.alert_channels)
returns jsonb language sql stable
    return jsonb_build_object(
        'name', channel.name, 'preset', channel.preset, 'fallback', channel.fallback,
        'target', tocsin.audited_target(
            case when channel.preset in ('amqp', 'smtp') then channel.preset else 'http' end, channel.target),
        'digest', md5(channel.target::text));

-- Writes one change of a rule or channel into the audit log, unless nothing of it is kept there.
create or replace function tocsin.log_alert_change(
    entity text, action text, entity_id uuid, entity_name text, was jsonb, became jsonb)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if was is not distinct from became then
        return;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case action when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        entity, entity_id, entity_name,
        case when action = 'UPDATE' then array(
            select replace(e.key, 'digest', 'target') from jsonb_each(was) as e
            where e.value is distinct from became -> e.key and e.key <> 'target' order by 1) end,
        was - 'digest', became - 'digest');
end $$;

-- Writes the changes of alert rules into the audit log.
create or replace function tocsin.audit_alert_rule()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    perform tocsin.log_alert_change('alert_rule', tg_op, coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op <> 'INSERT' then tocsin.audited_alert_rule(old) end,
        case when tg_op <> 'DELETE' then tocsin.audited_alert_rule(new) end);
    return null;
end $$;

create or replace trigger alert_rules_800_audit after insert or update or delete on tocsin.alert_rules
    for each row execute function tocsin.audit_alert_rule();

-- Writes the changes of alert channels into the audit log.
create or replace function tocsin.audit_alert_channel()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    perform tocsin.log_alert_change('alert_channel', tg_op, coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op <> 'INSERT' then tocsin.audited_alert_channel(old) end,
        case when tg_op <> 'DELETE' then tocsin.audited_alert_channel(new) end);
    return null;
end $$;

create or replace trigger alert_channels_800_audit after insert or update or delete on tocsin.alert_channels
    for each row execute function tocsin.audit_alert_channel();

comment on function tocsin.refuse_alert(table_name text, field text, message text, hint text) is
    'Refuses a rule or a channel, naming the column, with what to write instead.';
comment on function tocsin.check_alert_rule() is
    'A rule names channels that there are. A rule that is changed begins anew.';
comment on function tocsin.begin_alerts() is
    'Before there is a rule nobody reads what ends; from the first one on the cursor begins here. With what may be under way: earlier ends are told apart by begun_at. By statement, as the first rules may come together.';
comment on function tocsin.check_alert_channel() is
    'A channel that rules or other channels name stays, under its name.';
comment on function tocsin.fall_back() is
    'What a channel could not deliver is told by the one that it names for that, once: of a message that fails there too there is the record. So is what is over: see tell in db/queries/alerts.sql, by which it may be told there already.';
comment on function tocsin.test_channel(channel text) is
    'Has a channel told something, to see whether that arrives: select tocsin.test_channel(''ops''); Returns the alert, in which delivered_at says so; no row: there is no such channel.';
comment on function tocsin.deliver_message(alert_ids uuid[], kind text, target jsonb, metadata jsonb) is
    'Makes the job that delivers some alerts as one message. A delivery that others forbid is on record as failed; one that a lock keeps from being made is left for the next pass.';
comment on function tocsin.usual_seconds(job uuid, before_id bigint) is
    'For how many seconds the last runs of a job before an execution lasted that succeeded: the median of up to twenty; null: there are fewer than five among its last hundred executions.';
comment on function tocsin.alert_backlog(rule tocsin.alert_rules) is
    'Why a rule tells of a backlog: what is due, and was not started, but for what delivers alerts. Null: there is none. A tag is looked for among the jobs that have been due for longest, however many have it, and only if that decides nothing by its index, however many are due.';
comment on function tocsin.alert_no_instance(seconds float8) is
    'Of which kinds jobs are due that no instance runs which is connected, for so many seconds; null: there are none. A step from kind to kind.';
comment on function tocsin.audited_alert_rule(rule tocsin.alert_rules) is
    'What the audit log keeps of an alert rule.';
comment on function tocsin.audited_alert_channel(channel tocsin.alert_channels) is
    'What the audit log keeps of a channel; of its target, what it keeps of targets of jobs.';
comment on function tocsin.log_alert_change(entity text, action text, entity_id uuid, entity_name text, was jsonb, became jsonb) is
    'Writes one change of a rule or channel into the audit log, unless nothing of it is kept there.';
comment on function tocsin.audit_alert_rule() is
    'Writes the changes of alert rules into the audit log.';
comment on function tocsin.audit_alert_channel() is
    'Writes the changes of alert channels into the audit log.';
-- db/triggers/8_checks.sql: jobs of the kind check, which expect pings instead of making calls.

-- A ping that ends a run writes its execution and how its job stands. It leaves the plan alone: an instance that claims
-- the job at the end of its grace compares the plan with tocsin.checks. See app/core/runs/expectation.py.

-- Makes the address of a check: select tocsin.check_token('nightly-backup'); the address is /ping/ and the token. An earlier
-- one is no longer valid. Only a digest is kept. Returns null if there is no such job.
create or replace function tocsin.check_token(job uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- 244 bits of the server's cryptographic randomness.
    token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
    found_kind constant text := tocsin.checked_kind(job, 'update');
begin
    if found_kind is null then
        return null;
    end if;
    insert into tocsin.checks as c (job_id, token_digest) values (job, sha256(convert_to(token, 'UTF8')))
    on conflict (job_id) do update set token_digest = excluded.token_digest, token_made_at = clock_timestamp();
    perform tocsin.audit_check(job, 'made');
    return token;
end $$;

-- Has the address of a check lead nowhere. Returns whether it led anywhere.
create or replace function tocsin.revoke_check_token(job uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    found_kind constant text := tocsin.checked_kind(job, 'update');
begin
    update tocsin.checks c set token_digest = null where c.job_id = revoke_check_token.job and c.token_digest is not null;
    if not found then
        return false;
    end if;
    perform tocsin.audit_check(job, 'revoked');
    return true;
end $$;

-- Makes the address of a check, given by its name or by its id as text: select tocsin.check_token('nightly-backup'); the
-- address is /ping/ and the token that is returned. An earlier one is no longer valid. Only a digest is kept, so it is shown
-- once. Null: there is no such job. Refused: a job of another kind.
create or replace function tocsin.check_token(job text)
returns text language sql
begin atomic
    select tocsin.check_token(tocsin.job_id(check_token.job));
end;

-- Has the address of a check, given by its name or by its id as text, lead nowhere. Returns whether it led anywhere.
create or replace function tocsin.revoke_check_token(job text)
returns boolean language sql
begin atomic
    select tocsin.revoke_check_token(tocsin.job_id(revoke_check_token.job));
end;

-- The kind of a job, which has to be check; null: there is no such job. These functions act with their owner's rights, so
-- whoever calls them needs the right that an edit of the job would need.
create or replace function tocsin.checked_kind(job uuid, needed text)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    kind constant text := (select j.kind from tocsin.jobs j where j.id = job and j.run_of is null);
begin
    if not has_any_column_privilege(session_user, 'tocsin.jobs', needed) then
        raise insufficient_privilege using message = 'permission denied for table jobs';
    end if;
    if kind <> 'check' then
        perform tocsin.refuse('kind', format('is %L, which expects no pings', kind), 'Write check.');
    end if;
    return kind;
end $$;

-- Writes into the audit log that the address of a check was made or revoked.
create or replace function tocsin.audit_check(job uuid, what text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, after)
    select 'update', 'job', j.id, j.name, array['check_token'], jsonb_build_object('check_token', what)
    from tocsin.jobs j where j.id = audit_check.job;
end $$;

-- Takes a ping for the check whose token has this digest: start, success, fail or log; exit_code: that of what has ended.
-- Returns ok; unknown: no check has the token; or limited: it got sixty pings in the minute. Whoever knows a token may
-- call this, so it can be called by a role with no other right. What holds one check up holds up no other: all it waits
-- for are the rows of that check, and for no longer than lock_timeout.
create or replace function tocsin.ping(digest bytea, action text, exit_code integer default null, body text default null)
returns text language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    c tocsin.checks;
    j tocsin.jobs;
    moment timestamptz;
    began timestamptz;
    result text := case when coalesce(exit_code, 0) <> 0 then 'failed' when action = 'fail' then 'failed' else 'succeeded' end;
    was_late boolean;
begin
    select * into c from tocsin.checks where token_digest = digest for update;
    if c.job_id is not null then
        select * into j from tocsin.jobs where id = c.job_id and kind = 'check' and run_of is null;
    end if;
    if j.id is null then
        return 'unknown';
    end if;
    moment := clock_timestamp();  -- once the row is ours, so that pings have the order in which they are taken
    if c.minute_at > moment - interval '1 minute' and c.minute_at <= moment then
        if c.pings >= 60 then
            return 'limited';
        end if;
        c.pings := c.pings + 1;
    else
        c.minute_at := moment;
        c.pings := 1;
    end if;
    body := left(body, 8000);
    if action = 'start' then
        update tocsin.checks set started_at = moment, log = body, minute_at = c.minute_at, pings = c.pings where job_id = c.job_id;
        return 'ok';
    elsif action = 'log' then
        update tocsin.checks
        set log = right(concat_ws(chr(10), c.log, body), 16000), minute_at = c.minute_at, pings = c.pings
        where job_id = c.job_id;
        return 'ok';
    end if;
    update tocsin.checks
    set ended_at = moment, log = null, minute_at = c.minute_at, pings = c.pings
    where job_id = c.job_id;
    select * into j from tocsin.jobs where id = c.job_id and kind = 'check' and run_of is null for no key update;
    if j.id is null then
        return 'unknown';
    end if;
    -- What ended at a time to come ended while the clock was ahead: it says nothing of what began since.
    began := case when c.started_at > greatest(case when c.ended_at <= moment then c.ended_at end, moment - interval '100 years')
        then least(c.started_at, moment) else moment end;
    was_late := result = 'succeeded' and coalesce(j.last_outcome in ('missed', 'timed_out'), false);
    -- An instance that is judging the job at this moment judges again: its lease is taken away.
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs
    set last_outcome = result, last_finished_at = moment,
        consecutive_failures = case when result = 'failed' then least(consecutive_failures, 2147483646) + 1 else 0 end,
        runs = runs + 1, fence = fence + (locked_until is not null)::integer,
        attempt = case when locked_until is null then attempt else 0 end,
        locked_until = null, locked_by = null, claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
    where id = j.id;
    perform set_config('tocsin.runs', '', true);
    if j.locked_until is not null and tocsin.is_soon(j, moment) then
        perform tocsin.wake();
    end if;
    begin
        insert into tocsin.executions (
            job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at, response, error)
        values (
            j.id, 'check',
            case when j.scheduled_for <= moment + interval '30 seconds' then j.scheduled_for else moment end, 1, result,
            case when was_late then 'late' when coalesce(exit_code, 0) <> 0 then 'exit_code' when result = 'failed' then 'fail' end,
            began, moment, nullif(right(concat_ws(chr(10), case when began < moment then c.log end, body), 16000), ''),
            case when coalesce(exit_code, 0) <> 0 then format('what is checked ended with exit code %s', exit_code)
                when result = 'failed' then 'what is checked said that it failed' end);
    exception when others then
        null;  -- a trigger of users on executions: the job goes on without its record
    end;
    return 'ok';
end $$;

-- What came in for a check, for instances and the API; no row: it never had an address. With their owner's rights, so that
-- no role needs any to tocsin.checks, whose digests are as good as tokens for tocsin.ping.
create or replace function tocsin.pings_of(job uuid)
returns table (has_token boolean, token_made_at timestamptz, started_at timestamptz, ended_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select c.token_digest is not null, c.token_made_at, c.started_at, c.ended_at
    from tocsin.checks c where c.job_id = pings_of.job;
end;

-- Whether some check has the token of this digest (SHA-256).
create or replace function tocsin.is_check_token(digest bytea)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from tocsin.checks c where c.token_digest = is_check_token.digest);
end;

-- Whether the ping of a check is due, its grace goes on, and the ping has not come, of which an end at this instant was the
-- latest. Which end counts: see app/core/runs/expectation.py; an interval goes from end to end, for an instant one may come early.
create or replace function tocsin.is_ping_late(job tocsin.jobs, ended_at timestamptz)
returns boolean language sql stable
    return job.scheduled_for <= now() and job.next_run > job.scheduled_for
        and not coalesce(ended_at <= now() and case when job.every_seconds is not null and job.starts_at is null
            then ended_at > job.scheduled_for - interval '1 second' * job.every_seconds::float8
            else ended_at >= job.scheduled_for - interval '1 second' * least(30, greatest(0,
                case when jsonb_typeof(job.target -> 'grace_seconds') = 'number'
                    then (job.target ->> 'grace_seconds')::numeric else 300 end))::float8 end, false);

-- How a check stands, in one word: new, started, up, late (the ping is due, and its grace goes on), down, paused,
-- or invalid: pings are recorded, and nobody notices one that does not come.
create or replace function tocsin.check_status(job tocsin.jobs, started_at timestamptz, ended_at timestamptz)
returns text language sql stable
    return case
        when job.plan_error is not null then 'invalid'
        when job.paused_at is not null then 'paused'
        when started_at <= now() and started_at > coalesce(greatest(
            case when ended_at <= now() then ended_at end, case when job.last_finished_at <= now() then job.last_finished_at end),
            '-infinity') then 'started'
        when job.last_outcome in ('missed', 'failed', 'timed_out') then 'down'
        when tocsin.is_ping_late(job, ended_at) then 'late'
        when ended_at is null then 'new'
        else 'up' end;

-- How a check stands by the pings that have come for it.
create or replace function tocsin.check_status(job tocsin.jobs)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    pings record;
begin
    select p.started_at, p.ended_at into pings from tocsin.pings_of(job.id) as p;
    return tocsin.check_status(job, pings.started_at, pings.ended_at);
end $$;

comment on function tocsin.check_token(job uuid) is
    'Makes the address of a check: select tocsin.check_token(''nightly-backup''); the address is /ping/ and the token. An earlier one is no longer valid. Only a digest is kept. Returns null if there is no such job.';
comment on function tocsin.revoke_check_token(job uuid) is
    'Has the address of a check lead nowhere. Returns whether it led anywhere.';
comment on function tocsin.check_token(job text) is
    'Makes the address of a check, given by its name or by its id as text: select tocsin.check_token(''nightly-backup''); the address is /ping/ and the token that is returned. An earlier one is no longer valid. Only a digest is kept, so it is shown once. Null: there is no such job. Refused: a job of another kind.';
comment on function tocsin.revoke_check_token(job text) is
    'Has the address of a check, given by its name or by its id as text, lead nowhere. Returns whether it led anywhere.';
comment on function tocsin.checked_kind(job uuid, needed text) is
    'The kind of a job, which has to be check; null: there is no such job. These functions act with their owner''s rights, so whoever calls them needs the right that an edit of the job would need.';
comment on function tocsin.audit_check(job uuid, what text) is
    'Writes into the audit log that the address of a check was made or revoked.';
comment on function tocsin.ping(digest bytea, action text, exit_code integer, body text) is
    'Takes a ping for the check whose token has this digest: start, success, fail or log; exit_code: that of what has ended. Returns ok; unknown: no check has the token; or limited: it got sixty pings in the minute. Whoever knows a token may call this, so it can be called by a role with no other right. What holds one check up holds up no other: all it waits for are the rows of that check, and for no longer than lock_timeout.';
comment on function tocsin.pings_of(job uuid) is
    'What came in for a check, for instances and the API; no row: it never had an address. With their owner''s rights, so that no role needs any to tocsin.checks, whose digests are as good as tokens for tocsin.ping.';
comment on function tocsin.is_check_token(digest bytea) is
    'Whether some check has the token of this digest (SHA-256).';
comment on function tocsin.is_ping_late(job tocsin.jobs, ended_at timestamptz) is
    'Whether the ping of a check is due, its grace goes on, and the ping has not come, of which an end at this instant was the latest. Which end counts: see app/core/runs/expectation.py; an interval goes from end to end, for an instant one may come early.';
comment on function tocsin.check_status(job tocsin.jobs, started_at timestamptz, ended_at timestamptz) is
    'How a check stands, in one word: new, started, up, late (the ping is due, and its grace goes on), down, paused, or invalid: pings are recorded, and nobody notices one that does not come.';
comment on function tocsin.check_status(job tocsin.jobs) is
    'How a check stands by the pings that have come for it.';
-- db/triggers/8_explain.sql: why a job has not run, or when it will, and what became of a run.

-- The instances that are connected, each by the session that it listens on; application_name may be cut at 63 bytes.
create or replace function tocsin.connected_instances()
returns table (name text, connected_since timestamptz) language sql stable
begin atomic
    select substring(application_name from '^tocsin scheduler (.*)$'), min(backend_start)
    from pg_stat_activity
    where datname = current_database() and application_name like 'tocsin scheduler %'
    group by 1;
end;

-- Whether an instance has a session: the one that it listens on, or that which settles what it held.
create or replace function tocsin.is_connected(instance text)
returns boolean language sql stable
    return exists (
        select from pg_stat_activity
        where datname = current_database()
          and application_name in (left('tocsin scheduler ' || instance, 63), left('tocsin settle ' || instance, 63)));

-- The kinds that an instance which is connected runs. One of 0.1.0 does not say so.
create or replace function tocsin.kinds_alive()
returns text[] language sql stable
begin atomic
    select array(
        select unnest(array['http', 'amqp']) where exists (select from tocsin.connected_instances())
        union
        select unnest(i.kinds) from tocsin.instance_rules i where i.kinds is not null and tocsin.is_connected(i.name));
end;

-- What users put on tocsin.executions that may keep records from being written. Without any policy, a role that is not
-- the owner sees no row at all.
create or replace function tocsin.rules_on_executions()
returns setof text language sql stable
begin atomic
    select format('trigger %I on tocsin.executions', tgname)
    from pg_trigger
    where tgrelid = 'tocsin.executions'::regclass and not tgisinternal and tgenabled in ('O', 'A')
    union all
    select format('rule %I on tocsin.executions', rulename)
    from pg_rules where schemaname = 'tocsin' and tablename = 'executions'
    union all
    select format('policy %I on tocsin.executions', policyname)
    from pg_policies where schemaname = 'tocsin' and tablename = 'executions'
    union all
    select 'row security on tocsin.executions'
    from pg_class where oid = 'tocsin.executions'::regclass and relrowsecurity;
end;

-- The transactions of others that have a row of tocsin.jobs locked, from what the row itself says: no lock is asked for.
-- The row names one transaction, or a list of them (a multixact) by a number of the same kind, so whoever is found by
-- that list has to have a lock on the table as well. A transaction that keeps no more than the key, as a foreign key to
-- tocsin.jobs does, keeps no instance from the row; one alone cannot be told from the rest. Tocsin's own take
-- milliseconds and are told if they take a second.
create or replace function tocsin.row_lockers(row_id uuid)
returns table (pid integer, application_name text, since timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    locker constant xid := (select j.xmax from tocsin.jobs j where j.id = row_id);
    lockers xid[] := array[locker];
begin
    if locker is null or locker = '0'::xid then
        return;
    end if;
    if not exists (select from pg_locks l where l.locktype = 'transactionid' and l.transactionid = locker) then
        begin
            select array_agg(m.xid) into lockers
            from pg_get_multixact_members(locker) as m
            where m.mode <> 'keysh' and exists (
                select from pg_locks x join pg_locks t using (virtualtransaction)
                where x.locktype = 'transactionid' and x.transactionid = m.xid
                  and t.locktype = 'relation' and t.relation = 'tocsin.jobs'::regclass
                  and t.mode in ('RowShareLock', 'RowExclusiveLock'));
        exception when others then  -- there is no such list
            return;
        end;
    end if;
    return query
        select l.pid, left(coalesce(a.application_name, 'prepared transaction ' || p.gid), 200),
            coalesce(a.xact_start, p.prepared)
        from pg_locks l
        left join pg_stat_activity a on a.pid = l.pid
        left join pg_prepared_xacts p on p.transaction = l.transactionid
        where l.locktype = 'transactionid' and l.granted and l.transactionid = any (lockers)
          and l.pid is distinct from pg_backend_pid()
          and (a.application_name is null or a.application_name not like 'tocsin %'
              or a.xact_start < clock_timestamp() - interval '1 second');
end $$;

-- An instant as sentences have it.
create or replace function tocsin.told_at(instant timestamptz)
returns text language sql stable
    return to_char(instant at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');

-- How an execution or a run ended, as sentences have it.
create or replace function tocsin.ending_in_words(outcome text, why text, error text)
returns text language sql immutable
    return case outcome when 'timed_out' then 'timed out'
            when 'cancelled' then 'was cancelled' when 'lost' then 'was lost' when 'missed' then 'was missed'
            else outcome end
        || coalesce(' (' || why || ')', '') || coalesce(': ' || left(error, 1000), '');

-- What becomes of runs that come due while one of the plan is unfinished.
create or replace function tocsin.overlap_in_words(overlap text)
returns text language sql immutable
    return case overlap
        when 'skip' then ' Runs that come due meanwhile are missed (overlap: skip).'
        when 'buffer_one' then ' Of runs that come due meanwhile the latest follows, and the others are missed (overlap: buffer_one).'
        when 'cancel_other' then ' It is cut off when the next run comes due (overlap: cancel_other).'
        when 'allow_all' then ' Runs that come due meanwhile are carried out beside it (overlap: allow_all).'
        else '' end;

-- Who paused, whose tag it is, until when and why, as a sentence.
create or replace function tocsin.pause_in_words(pause jsonb)
returns text language sql stable
    return case when pause ->> 'paused_by' is null then '' else
        format(' By %s%s%s%s.', left(pause ->> 'paused_by', 200), ' with the tag ' || quote_literal(pause ->> 'tag'),
            ', until ' || tocsin.told_at((pause ->> 'until')::timestamptz), ': ' || rtrim(pause ->> 'reason', '.')) end;

-- What the next attempt of a run waits for, be it of the plan of its job or beside that; last: the job's newest execution.
create or replace function tocsin.explain_wait(job tocsin.jobs, run tocsin.jobs, last tocsin.executions)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    due_at constant timestamptz := greatest(run.next_run, run.locked_until);
    occurrence constant timestamptz := coalesce(run.scheduled_for, run.next_run);
    known constant boolean := coalesce(last.scheduled_for = occurrence, false);
begin
    if run.locked_until is not null and (run.execution_id is not null or last.reason is distinct from 'cancelled') then
        return query select 'lease_ended', format(
                'The lease of instance %s for attempt %s of %s of the run of %s ended at %s without a settlement: the next look takes the run over.',
                run.locked_by, coalesce(run.claimed_attempt, run.attempt), run.max_attempts, tocsin.told_at(occurrence),
                tocsin.told_at(run.locked_until)),
            run.locked_until, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'instance', run.locked_by, 'run', occurrence, 'attempt', coalesce(run.claimed_attempt, run.attempt),
                'max_attempts', run.max_attempts, 'execution_id', run.execution_id));
    elsif run.attempt > 0 then
        return query select 'retrying', format('Attempt %s of %s of the run of %s %s. The next attempt is %s %s.',
                run.attempt, run.max_attempts, tocsin.told_at(occurrence),
                case when known then tocsin.ending_in_words(last.outcome, last.reason, rtrim(last.error, '.'))
                    else 'did not succeed' end,
                case when due_at > now() then 'planned for' else 'due since' end, tocsin.told_at(due_at)),
            job.last_finished_at, due_at, jsonb_strip_nulls(jsonb_build_object(
                'run', occurrence, 'attempt', run.attempt, 'max_attempts', run.max_attempts)
                || case when known then jsonb_build_object('outcome', last.outcome, 'why', last.reason,
                    'error', left(last.error, 2000), 'execution_id', last.id) else '{}' end);
    elsif run.run_of is null and tocsin.is_skipped(job) then
        return query select 'skipped', format('Its run of %s is skipped%s.', tocsin.told_at(occurrence),
                case when job.skip_until > occurrence then ', as are all before ' || tocsin.told_at(job.skip_until)
                    when job.skip_runs > 1 then format(', as are the %s after it', job.skip_runs - 1) else '' end),
            null::timestamptz, case when job.skip_until > occurrence then job.skip_until end, jsonb_strip_nulls(jsonb_build_object(
                'run', occurrence, 'skip_runs', job.skip_runs, 'skip_until', job.skip_until));
    elsif run.run_of is null and (tocsin.maintenance_of(job, occurrence)).id is not null then
        return query select * from tocsin.explain_maintenance(job, occurrence);
    elsif run.run_of is null and job.calendars is not null and (
            tocsin.calendars_problem(job.calendars) is not null or tocsin.closed_until(job.calendars, occurrence) is not null) then
        return query select * from tocsin.explain_closing(job, occurrence, due_at);
    elsif run.run_of is null and job.min_gap_seconds > 0 and due_at > occurrence
            and (job.runs > 0 or job.last_outcome is distinct from 'missed')  -- else none has ended yet
            and job.last_finished_at + job.min_gap_seconds * interval '1 second' >= due_at then
        return query select 'min_gap', format('Its run of %s is put off until %s, %s s after the end of the run before.',
                tocsin.told_at(occurrence), tocsin.told_at(due_at), job.min_gap_seconds::float8),
            job.last_finished_at, due_at, jsonb_build_object('run', occurrence);
    elsif job.kind = 'check' and run.run_of is null then
        return query select 'ping_expected', case
                when due_at > occurrence and occurrence <= now() and not (
                        select tocsin.is_ping_late(job, p.ended_at) from (select) as one left join tocsin.pings_of(job.id) as p on true) then
                    format('The ping of %s has come. The one after it is expected once the grace ends, at %s.', tocsin.told_at(occurrence), tocsin.told_at(due_at))
                else format('It expects the ping of %s%s.', tocsin.told_at(occurrence),
                    case when due_at > occurrence then ', by ' || tocsin.told_at(due_at) || ' at the latest' else '' end) end,
            null::timestamptz, due_at, jsonb_build_object('run', occurrence);
    elsif due_at > now() then
        if job.starts_at > now() and run.run_of is null then
            return query select 'before_window', format('Its window starts at %s.', tocsin.told_at(job.starts_at)),
                null::timestamptz, job.starts_at, jsonb_build_object('starts_at', job.starts_at);
        end if;
        return query select 'scheduled', case
                when occurrence < due_at and tocsin.has_jitter(job) and run.run_of is null then
                    format('Its run of %s is spread: it starts at %s.', tocsin.told_at(occurrence), tocsin.told_at(due_at))
                else format('It waits for its run of %s.', tocsin.told_at(due_at)) end,
            null::timestamptz, due_at, jsonb_build_object('run', occurrence);
    else
        return query select 'due', format('The run of %s is due%s, and starts once an instance has a free slot.',
                tocsin.told_at(occurrence), ' since ' || tocsin.told_at(due_at)),
            due_at, null::timestamptz, jsonb_strip_nulls(jsonb_build_object('run', occurrence));
    end if;
end $$;

-- What the window makes of the next run of a job that it falls into.
create or replace function tocsin.explain_maintenance(job tocsin.jobs, occurrence timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    under constant tocsin.maintenance := tocsin.maintenance_of(job, occurrence);
    over_at constant timestamptz := nullif(tocsin.maintained_until(job.calendars, job.tags, occurrence), 'infinity');
begin
    return query select 'maintenance', format('Its run of %s falls into maintenance of %s%s%s: it %s.',
            tocsin.told_at(occurrence), coalesce('what has the tag ' || quote_literal(under.tag), 'everything'),
            ', until ' || tocsin.told_at(over_at), ' (' || under.reason || ')',
            case when under.on_closed = 'next_open' and over_at is not null then 'starts then' else 'is missed then' end),
        occurrence, over_at, jsonb_strip_nulls(jsonb_build_object('run', occurrence, 'maintenance', under.id,
            'tag', under.tag, 'calendar', under.calendar, 'maintenance_reason', under.reason, 'set_by', under.created_by));
end $$;

-- What the calendars of a job make of its next run, which they close.
create or replace function tocsin.explain_closing(job tocsin.jobs, occurrence timestamptz, due_at timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    problem constant text := tocsin.calendars_problem(job.calendars);
    opens_at constant timestamptz := nullif(tocsin.closed_until(job.calendars, occurrence), 'infinity');
    about constant jsonb := jsonb_build_object('run', occurrence, 'calendars', to_jsonb(job.calendars));
begin
    return query select 'calendar', case
            when problem is not null then format('It becomes invalid when its run of %s is due: %s.', tocsin.told_at(occurrence), problem)
            when job.on_closed = 'next_open' and opens_at is not null then
                format('Its run of %s falls into time that its calendars (%s) close until %s, and starts then.',
                    tocsin.told_at(occurrence), array_to_string(job.calendars, ', '), tocsin.told_at(opens_at))
            else format('Its run of %s falls into time that its calendars (%s) close%s: it is missed then.',
                tocsin.told_at(occurrence), array_to_string(job.calendars, ', '), ' until ' || tocsin.told_at(opens_at)) end,
        occurrence, opens_at, about;
end $$;

-- How the last run of a job failed that goes on, and how many did in a row; last: its newest execution.
create or replace function tocsin.explain_failing(job tocsin.jobs, last tocsin.executions)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    known constant boolean := coalesce(last.outcome = job.last_outcome, false);
begin
    return query select 'failing', format('Its last run%s %s, at %s%s.%s',
            case when known then ', of ' || tocsin.told_at(last.scheduled_for) || ',' end,
            tocsin.ending_in_words(job.last_outcome, case when known then last.reason end, null),
            tocsin.told_at(coalesce(case when known then last.finished_at end, job.last_finished_at)),
            case when known then ': ' || coalesce(left(rtrim(last.error, '.'), 1000), 'answered ' || last.status_code) end,
            case when job.consecutive_failures > 1 then format(' %s runs in a row did not succeed.', job.consecutive_failures) end),
        coalesce(case when known then last.finished_at end, job.last_finished_at), null::timestamptz,
        jsonb_strip_nulls(jsonb_build_object('outcome', job.last_outcome, 'consecutive_failures', job.consecutive_failures)
            || case when known then jsonb_build_object('run', last.scheduled_for, 'attempt', last.attempt, 'why', left(last.reason, 1000),
                'status_code', last.status_code, 'error', left(last.error, 2000), 'execution_id', last.id) else '{}' end);
end $$;

-- Why a job has not run, or when it will: the first row is what holds it now. How it stands is for tocsin.state to say;
-- here is why. Flow keys and calendars have their place among what a planned run waits for, as skipped runs do.
create or replace function tocsin.explain_present(job tocsin.jobs)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    state constant text := tocsin.state(job);
    run tocsin.jobs;  -- what is carried out next: a run beside the plan, or the plan
    held tocsin.jobs;
    last tocsin.executions;
    due_at timestamptz;
    waits boolean;
    connected boolean;
    anyone boolean;   -- is connected
    in_flow boolean;  -- it is due, and its flow holds it
    ending text := '';
    pause jsonb;
begin
    if job.pending_runs > 0 and job.attempt = 0 then
        select * into run from tocsin.jobs r
        where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null)
        order by r.id limit 1;
    else
        run := job;
    end if;
    due_at := greatest(run.next_run, run.locked_until);
    waits := coalesce(due_at > now(), false);
    if job.last_outcome is not null and has_table_privilege('tocsin.executions', 'select') then
        select * into last from tocsin.executions e where e.job_id = job.id order by e.id desc limit 1;
    end if;

    if job.plan_error is not null then
        return query select 'invalid', format('It cannot run until this is corrected: %s', left(job.plan_error, 2000)),
            null::timestamptz, null::timestamptz, jsonb_build_object('error', left(job.plan_error, 2000));
    end if;
    foreach held in array case
        when job.overlap = 'allow_all' then job || array(
            select r from tocsin.jobs r where r.run_of = job.id and r.locked_until is not null order by r.id limit 10)
        when run.run_of is null then array[job] else array[job, run] end
    loop
        if held.locked_until > now() and held.execution_id is null and last.outcome = 'cancelled' and last.reason = 'cancelled' then
            return query select 'cutting_off',
                format('Execution %s was cancelled, and instance %s has yet to cut it off: nothing else starts before that, or before its lease ends at %s.',
                    last.id, held.locked_by, tocsin.told_at(held.locked_until)),
                last.finished_at, held.locked_until, jsonb_build_object('instance', held.locked_by, 'execution_id', last.id);
        elsif held.locked_until > now() then
            connected := tocsin.is_connected(held.locked_by);
            return query select
                case when connected then 'executing' else 'instance_gone' end,
                format('Instance %s has its lease until %s, for attempt %s of %s of the run of %s, claimed at %s.%s',
                    held.locked_by, tocsin.told_at(held.locked_until), coalesce(held.claimed_attempt, held.attempt),
                    held.max_attempts, tocsin.told_at(coalesce(held.claimed_for, held.scheduled_for)),
                    tocsin.told_at(held.claimed_at), case when not connected then
                        ' That instance is not connected: unless it comes back, another takes the run over then.' else '' end
                    || case when held.run_of is null and held.run_at is null then tocsin.overlap_in_words(held.overlap) else '' end),
                held.claimed_at, held.locked_until, jsonb_strip_nulls(jsonb_build_object(
                    'instance', held.locked_by, 'run', coalesce(held.claimed_for, held.scheduled_for),
                    'attempt', coalesce(held.claimed_attempt, held.attempt), 'max_attempts', held.max_attempts,
                    'execution_id', held.execution_id));
        end if;
    end loop;
    if state = 'invalid' and job.plan_error is null then
        return query select 'unsupported_kind', format(
                'No instance has run jobs of the kind %L in the last day: correct the kind, or start an instance that has it.',
                job.kind),
            null::timestamptz, null::timestamptz, jsonb_build_object('kind', job.kind);
    end if;
    if job.paused_at is not null then
        pause := tocsin.pause_of(job);
        return query select 'paused', format('It is paused since %s, and keeps its plan%s.%s', tocsin.told_at(job.paused_at),
                ': ' || tocsin.told_at(job.next_run), tocsin.pause_in_words(pause)),
            job.paused_at, (pause ->> 'until')::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'run', case when job.next_run is not null then coalesce(job.scheduled_for, job.next_run) end,
                'paused_by', pause ->> 'paused_by', 'pause_reason', pause ->> 'reason', 'tag', pause ->> 'tag'));
    end if;
    if state in ('scheduled', 'retrying', 'invalid') then
        return query
            select 'all_paused', format('Everything is paused since %s.%s', tocsin.told_at(p.paused_at),
                    tocsin.pause_in_words(to_jsonb(p) - 'tag')),
                p.paused_at, p.until, jsonb_strip_nulls(jsonb_build_object('paused_by', p.paused_by, 'pause_reason', p.reason))
            from tocsin.pauses p where p.scope = 0;
        return query
            select 'tag_paused', format('It has the tag %L, which is paused since %s: it is paused once its run is due.%s',
                    p.tag, tocsin.told_at(p.paused_at), tocsin.pause_in_words(to_jsonb(p) - 'tag')),
                p.paused_at, p.until, jsonb_strip_nulls(jsonb_build_object(
                    'paused_by', p.paused_by, 'pause_reason', p.reason, 'tag', p.tag))
            from tocsin.pauses p where p.tag = any (job.tags);
    end if;

    if state in ('finished', 'failed') then
        if last.id is not null then
            ending := format(' Its last run, of %s, %s.', tocsin.told_at(last.scheduled_for),
                tocsin.ending_in_words(last.outcome, last.reason, last.error));
        elsif job.last_outcome is not null then
            ending := format(' Its last run %s.', tocsin.ending_in_words(job.last_outcome, null, null));
        end if;
        if job.run_at is null and job.runs >= job.max_runs then
            return query select 'max_runs', format('Its max_runs of %s are used up.%s', job.max_runs, ending),
                job.last_finished_at, null::timestamptz, jsonb_build_object('max_runs', job.max_runs, 'runs', job.runs);
        elsif job.run_at is null and job.ends_at is not null then
            return query select 'window_ended',
                format('Its schedule has no run left before its ends_at, %s.%s', tocsin.told_at(job.ends_at), ending),
                case when job.ends_at <= now() then job.ends_at end, null::timestamptz,
                jsonb_build_object('ends_at', job.ends_at);
        end if;
        return query select state, case when job.run_at is null then 'Its schedule has no run left.'
                    when job.last_outcome is null then 'Nothing is planned.' else 'Its only run is over.' end
                || ending,
            job.last_finished_at, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'run', coalesce(last.scheduled_for, job.scheduled_for), 'outcome', coalesce(last.outcome, job.last_outcome),
                'why', last.reason, 'error', left(last.error, 2000), 'execution_id', last.id));
    end if;

    if state in ('scheduled', 'retrying', 'executing') then
        anyone := exists (select from tocsin.connected_instances());
        if anyone and not waits and state <> 'executing' and run.id is not null and not tocsin.is_unplanned(run) then
            return query select * from tocsin.explain_flow(run);
            in_flow := found;
        end if;
        if job.pending_runs > 0 and job.attempt = 0 then
            return query select 'behind_run', case
                    when run.id is null then 'Its plan waits for runs that were asked for, of which none has been started.'
                    else format('Its plan waits for a run that was asked for, %s of %s.',
                        case run.request when 'replay' then 'a replay' when 'backfill' then 'a backfill' else 'a run now' end, tocsin.told_at(run.scheduled_for))
                    end || format(' Runs asked for and not over: %s.', job.pending_runs),
                null::timestamptz, null::timestamptz, jsonb_strip_nulls(jsonb_build_object('run', run.scheduled_for,
                    'request', run.request, 'run_id', run.id, 'pending_runs', job.pending_runs, 'plan', job.next_run));
        end if;
        if waits and state <> 'executing' then
            return query select * from tocsin.explain_wait(job, run, last);
        end if;
        return query
            select 'row_locked', format('A transaction%s has its row locked: pid %s%s. Until it ends the job can neither start nor be settled.',
                    ' open since ' || tocsin.told_at(l.since), coalesce(l.pid::text, 'unknown'),
                    ', ' || quote_literal(nullif(l.application_name, ''))),
                l.since, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                    'pid', l.pid, 'application_name', nullif(l.application_name, '')))
            from tocsin.row_lockers(run.id) as l
            union all
            select 'row_locked', format('A transaction%s has the row of the job locked: pid %s%s. Until it ends its run cannot be settled.',
                    ' open since ' || tocsin.told_at(l.since), coalesce(l.pid::text, 'unknown'),
                    ', ' || quote_literal(nullif(l.application_name, ''))),
                l.since, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                    'pid', l.pid, 'application_name', nullif(l.application_name, '')))
            from tocsin.row_lockers(job.id) as l where run.run_of is not null;
        if state <> 'executing' then
            if has_table_privilege('tocsin.resting_jobs', 'select') then
                return query
                    select 'left_alone', format('Instance %s leaves it alone, as it can neither be claimed nor be given an error: %s',
                            r.instance, left(r.problem, 2000)),
                        r.told_at, null::timestamptz, jsonb_build_object('instance', r.instance, 'error', left(r.problem, 2000))
                    from tocsin.resting_jobs r
                    where r.job_id in (job.id, run.id) and r.told_at > now() - interval '3 minutes'
                    order by r.instance;
            end if;
            if not anyone then
                return query select 'no_instance', 'No instance is connected to this database: start one with tocsin scheduler.',
                    null::timestamptz, null::timestamptz, '{}'::jsonb;
            elsif has_table_privilege('tocsin.instance_rules', 'select') and not job.kind = any (tocsin.kinds_alive()) then
                return query select 'kind_absent', format(
                        'No instance that is connected runs jobs of the kind %L, though one did in the last day: start one that has it.',
                        job.kind),
                    null::timestamptz, null::timestamptz, jsonb_build_object('kind', job.kind);
            end if;
            if not waits and run.id is not null and not tocsin.is_unplanned(run) then
                if not anyone then
                    return query select * from tocsin.explain_flow(run);
                    in_flow := found;
                end if;
                return query
                    select w.reason, case when w.reason = 'due' and in_flow then format(
                            'The run of %s is due since %s, and starts once its flow has room for it.',
                            tocsin.told_at((w.facts ->> 'run')::timestamptz), tocsin.told_at(due_at)) else w.detail end, w.since, w.until, w.facts
                    from tocsin.explain_wait(job, run, last) as w;
            end if;
            if tocsin.is_unplanned(job) then
                return query select 'unplanned', 'An instance has yet to plan its schedule, and does so within milliseconds.',
                    job.edited_at, null::timestamptz, '{}'::jsonb;
            end if;
        end if;
        if job.unchecked and job.next_run is not null and job.planned_at is not null then
            return query select 'target_unchecked',
                'An instance has yet to check its target, which was written in SQL; it does so soon, and before the run.',
                job.edited_at, null::timestamptz, '{}'::jsonb;
        end if;
    end if;
    if tocsin.failing(job) and job.attempt = 0 then
        return query select * from tocsin.explain_failing(job, last);
    end if;
end $$;

-- What became of the run of a job that was due at an instant. Its executions are among the first 10,000 of the job that
-- finished from a minute before that on: the runs of a job follow one another.
create or replace function tocsin.explain_past(job tocsin.jobs, due timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    plan constant timestamptz := coalesce(job.scheduled_for, job.next_run);
    is_over boolean;  -- as far as the job knows
    kept_from timestamptz;
    names text;
    before tocsin.executions;
    after tocsin.executions;
begin
    is_over := not (coalesce(job.next_run is not null and due in (plan, job.next_run), false) or exists (
        select from tocsin.jobs r where r.run_of = job.id and r.scheduled_for = due));
    if not is_over then
        return query select * from tocsin.explain_present(job);
    elsif due > now() then
        return query select 'ahead', format('That instant lies ahead.%s', ' The next run is planned for ' || tocsin.told_at(plan) || '.'),
            null::timestamptz, due, '{}'::jsonb;
        return query select * from tocsin.explain_present(job);
        return;
    end if;
    return query
        select case when e.outcome = 'missed' then 'missed' else 'executed' end,
            case when e.outcome = 'missed' then case e.reason
                    when 'misfire' then 'It was missed: no instance could start it within its grace.'
                    when 'overlap' then 'It was missed: the run before it was unfinished.'
                    when 'deleted' then 'It was deleted before it was started.'
                    when 'paused' then 'It was missed while the job was paused.'
                    when 'skipped' then 'It was skipped, as was asked for.'
                    when 'calendar' then 'It was missed: its calendars were closed.'
                    when 'maintenance' then 'It was missed: it fell into maintenance.'
                    when 'min_gap' then 'It was missed: it came too soon after the run before.'
                    else format('It was missed%s.', ': ' || e.reason) end
                || case when e.reason not in ('deleted', 'skipped', 'paused') then coalesce(
                        ' ' || upper(left(e.error, 1)) || substr(left(rtrim(e.error, '.'), 1000), 2) || '.', '') else '' end
                || case when e.missed_runs > 1 then format(' So were others, %s from %s to %s.', e.missed_runs,
                    tocsin.told_at(e.scheduled_for), tocsin.told_at(e.missed_until)) else '' end
            else format('Attempt %s of it%s %s at %s%s.', e.attempt, ' on instance ' || left(e.instance, 200),
                tocsin.ending_in_words(e.outcome, e.reason, null), tocsin.told_at(e.finished_at), ': ' || left(rtrim(e.error, '.'), 1000))
            end,
            e.started_at, e.finished_at, jsonb_strip_nulls(jsonb_build_object(
                'run', e.scheduled_for, 'execution_id', e.id, 'attempt', e.attempt, 'outcome', e.outcome,
                'why', left(e.reason, 1000), 'status_code', e.status_code, 'instance', left(e.instance, 1000),
                'error', left(e.error, 2000), 'missed_runs', e.missed_runs, 'missed_until', e.missed_until))
        from (
            select * from tocsin.executions x
            where x.job_id = job.id and x.id >= 0 and x.finished_at >= due - interval '1 minute'
            order by x.id limit 10000
        ) as e
        where e.scheduled_for = due or (e.outcome = 'missed' and due between e.scheduled_for and e.missed_until)
        order by e.id desc limit 100;
    if found or not is_over then
        return;
    end if;
    if due < job.created_at then
        return query select 'not_created', format('The job was created later, at %s.', tocsin.told_at(job.created_at)),
            null::timestamptz, job.created_at, '{}'::jsonb;
        return;
    elsif job.next_run is not null and plan < due then
        return query select 'plan_behind', format('The job has not got that far: its run of %s is not over.', tocsin.told_at(plan)),
            null::timestamptz, null::timestamptz, jsonb_build_object('run', plan);
        return query select * from tocsin.explain_present(job);
        return;
    end if;
    kept_from := (select min(p.starts_at) from tocsin.partitions() as p);
    if due < kept_from then
        return query select 'history_deleted', format(
                'History of that time is not kept: it reaches back to %s.', tocsin.told_at(kept_from)),
            null::timestamptz, kept_from, '{}'::jsonb;
        return;
    end if;
    names := (select string_agg(rule, ', ') from tocsin.rules_on_executions() as rule);
    if names is not null then
        return query select 'suppressed', format('There is no record of a run then; what you put there may have kept it from being written: %s.', names),
            null::timestamptz, null::timestamptz, jsonb_build_object('error', names);
        return;
    end if;
    if job.run_at = due then
        return query select 'history_deleted', 'A run was due then, of which no record is kept.',
            null::timestamptz, null::timestamptz, '{}'::jsonb;
        return;
    end if;
    select * into before from tocsin.executions x
    where x.job_id = job.id and x.id >= 0 and x.finished_at < due order by x.id desc limit 1;
    select * into after from tocsin.executions x
    where x.job_id = job.id and x.id >= 0 and x.finished_at >= due order by x.id limit 1;
    return query select 'not_planned', format('History has no run of it that was due at %s.%s%s', tocsin.told_at(due),
            ' The one before, of ' || tocsin.told_at(before.scheduled_for) || ', '
                || tocsin.ending_in_words(before.outcome, before.reason, null) || '.',
            ' The one after, of ' || tocsin.told_at(after.scheduled_for) || ', '
                || tocsin.ending_in_words(after.outcome, after.reason, null) || '.'),
        before.scheduled_for, after.scheduled_for, jsonb_strip_nulls(jsonb_build_object(
            'before', before.id, 'after', after.id));
end $$;

-- Why a job has not run, or when it will: select * from tocsin.explain('nightly-report'); The first row is what holds it
-- now; the rest is so as well. With an instant: what became of the run that was due then. No row: there is no such job.
-- Takes no lock on any row, and waits at most a second where somebody has a table of Tocsin's locked.
create or replace function tocsin.explain(job uuid, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '1s' as $$
declare
    stored tocsin.jobs;
begin
    select * into stored from tocsin.jobs j where j.id = explain.job and j.run_of is null;
    if stored.id is null then
        return;
    elsif explain.at is null then
        return query select * from tocsin.explain_present(stored);
    else
        return query select * from tocsin.explain_past(stored, explain.at);
    end if;
end $$;

-- Why a job, given by its name or by its id as text, has not run, or when it will: select * from
-- tocsin.explain('nightly-report'); The first row is what holds it now; the rest is so as well. reason is a stable word,
-- detail a sentence, since and until say how long, facts has numbers and names. With an instant (at): what became of the run
-- that was due then. No row: there is no such job. Takes no lock on any row.
create or replace function tocsin.explain(job text, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language sql stable
begin atomic
    select e.*
    from (
        select j.id from tocsin.jobs j where j.name = explain.job
        union all
        select case when explain.job ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then explain.job::uuid end
    ) as found
    cross join lateral tocsin.explain(found.id, explain.at) as e;
end;

comment on function tocsin.connected_instances() is
    'The instances that are connected, each by the session that it listens on; application_name may be cut at 63 bytes.';
comment on function tocsin.is_connected(instance text) is
    'Whether an instance has a session: the one that it listens on, or that which settles what it held.';
comment on function tocsin.kinds_alive() is
    'The kinds that an instance which is connected runs. One of 0.1.0 does not say so.';
comment on function tocsin.rules_on_executions() is
    'What users put on tocsin.executions that may keep records from being written. Without any policy, a role that is not the owner sees no row at all.';
comment on function tocsin.row_lockers(row_id uuid) is
    'The transactions of others that have a row of tocsin.jobs locked, from what the row itself says: no lock is asked for. The row names one transaction, or a list of them (a multixact) by a number of the same kind, so whoever is found by that list has to have a lock on the table as well. A transaction that keeps no more than the key, as a foreign key to tocsin.jobs does, keeps no instance from the row; one alone cannot be told from the rest. Tocsin''s own take milliseconds and are told if they take a second.';
comment on function tocsin.told_at(instant timestamptz) is
    'An instant as sentences have it.';
comment on function tocsin.ending_in_words(outcome text, why text, error text) is
    'How an execution or a run ended, as sentences have it.';
comment on function tocsin.overlap_in_words(overlap text) is
    'What becomes of runs that come due while one of the plan is unfinished.';
comment on function tocsin.pause_in_words(pause jsonb) is
    'Who paused, whose tag it is, until when and why, as a sentence.';
comment on function tocsin.explain_wait(job tocsin.jobs, run tocsin.jobs, last tocsin.executions) is
    'What the next attempt of a run waits for, be it of the plan of its job or beside that; last: the job''s newest execution.';
comment on function tocsin.explain_maintenance(job tocsin.jobs, occurrence timestamptz) is
    'What the window makes of the next run of a job that it falls into.';
comment on function tocsin.explain_closing(job tocsin.jobs, occurrence timestamptz, due_at timestamptz) is
    'What the calendars of a job make of its next run, which they close.';
comment on function tocsin.explain_failing(job tocsin.jobs, last tocsin.executions) is
    'How the last run of a job failed that goes on, and how many did in a row; last: its newest execution.';
comment on function tocsin.explain_present(job tocsin.jobs) is
    'Why a job has not run, or when it will: the first row is what holds it now. How it stands is for tocsin.state to say; here is why. Flow keys and calendars have their place among what a planned run waits for, as skipped runs do.';
comment on function tocsin.explain_past(job tocsin.jobs, due timestamptz) is
    'What became of the run of a job that was due at an instant. Its executions are among the first 10,000 of the job that finished from a minute before that on: the runs of a job follow one another.';
comment on function tocsin.explain(job uuid, at timestamptz) is
    'Why a job has not run, or when it will: select * from tocsin.explain(''nightly-report''); The first row is what holds it now; the rest is so as well. With an instant: what became of the run that was due then. No row: there is no such job. Takes no lock on any row, and waits at most a second where somebody has a table of Tocsin''s locked.';
comment on function tocsin.explain(job text, at timestamptz) is
    'Why a job, given by its name or by its id as text, has not run, or when it will: select * from tocsin.explain(''nightly-report''); The first row is what holds it now; the rest is so as well. reason is a stable word, detail a sentence, since and until say how long, facts has numbers and names. With an instant (at): what became of the run that was due then. No row: there is no such job. Takes no lock on any row.';
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

comment on function tocsin.written_columns() is
    'The columns of tocsin.jobs that people write: those whose edits are judged.';
comment on function tocsin.given(options jsonb) is
    'The options that are given, as a document without those that are null; nulls inside of them stay.';
comment on function tocsin.put_job(job jsonb) is
    'Creates a job, or edits the one that has its name: select tocsin.put_job(''{"name": "x", "kind": "http", …}''). The document has the columns of tocsin.jobs. Of a job that exists those that are left out stay as they are, its schedule too; a new one without a schedule is due at once. Returns the job''s id; null: a trigger of users suppresses it.';
comment on function tocsin.http_job(name text, url text, method text, body jsonb, headers jsonb, run_at timestamptz, cron text, timezone text, every_seconds numeric, target jsonb, description text, tags text[], metadata jsonb, dst_gap text, dst_overlap text, starts_at timestamptz, ends_at timestamptz, max_runs integer, max_attempts integer, backoff_seconds numeric, backoff_max_seconds numeric, timeout_seconds numeric, misfire text, misfire_grace_seconds numeric, max_catchup integer, overlap text, flow_key text, jitter_seconds numeric, jitter_percent numeric, priority integer, calendars text[], on_closed text, min_gap_seconds numeric, paused_at timestamptz, skip_runs integer, skip_until timestamptz) is
    'Creates the job of this name that calls a URL, or edits it, in the transaction of the caller; returns its id. url, method, headers (an object) and body (any JSON, sent as such) are its target; `target` has what else a target has, such as auth. When: one of run_at (once), cron with timezone (an IANA name, UTC by default) and every_seconds (from 0.1); a new job without any is due at once. All options are columns of tocsin.jobs, which say what each means, with its range; those that end in _seconds are seconds. What is null stays as it is or, of a new job, is the column''s default. Takes effect with COMMIT, which wakes the instances. A value out of range is refused (23514), with the column and a hint.';
comment on function tocsin.amqp_job(name text, url text, exchange text, routing_key text, body jsonb, headers jsonb, run_at timestamptz, cron text, timezone text, every_seconds numeric, target jsonb, description text, tags text[], metadata jsonb, dst_gap text, dst_overlap text, starts_at timestamptz, ends_at timestamptz, max_runs integer, max_attempts integer, backoff_seconds numeric, backoff_max_seconds numeric, timeout_seconds numeric, misfire text, misfire_grace_seconds numeric, max_catchup integer, overlap text, flow_key text, jitter_seconds numeric, jitter_percent numeric, priority integer, calendars text[], on_closed text, min_gap_seconds numeric, paused_at timestamptz, skip_runs integer, skip_until timestamptz) is
    'Creates the job of this name that publishes a message to RabbitMQ by AMQP, or edits it, in the transaction of the caller; returns its id. url (amqp: or amqps:), exchange (empty: the default one), routing_key, headers (an object) and body (any JSON, sent as such) are its target; `target` has what else a target has. All other options are as with tocsin.http_job. A value out of range is refused (23514), with the column and a hint.';
comment on function tocsin.set_of(job uuid) is
    'The set of files that has a job; null: none, or who asks may not read sets.';
-- db/triggers/8_pauses.sql: pauses of a job, of a tag and of everything, and how they end.

-- A job is paused by its paused_at alone; tocsin.pauses says who paused it, why and until when. A pause of a tag is
-- written to the jobs that have the tag, up to 10,000 at once and the others when they are claimed. A pause
-- of everything is no job's: looks read it, and claim nothing.

-- Works out at which instant a pause ends, as its until is written.
create or replace function tocsin.next_end()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.ends_at := new.until;
    return new;
end $$;

create or replace trigger pauses_100_end before insert or update of until on tocsin.pauses
    for each row execute function tocsin.next_end();

-- Says in tocsin.pauses what becomes of a job's paused_at; what tocsin.pause was told of it is in settings.
create or replace function tocsin.keep_pause()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.paused_at is null then
        delete from tocsin.pauses p where p.job_id = new.id;
    else
        insert into tocsin.pauses as p (job_id, held_by, reason, until, paused_at)
        values (new.id, nullif(current_setting('tocsin.pause_held_by', true), '')::uuid,
            nullif(current_setting('tocsin.pause_reason', true), ''),
            nullif(current_setting('tocsin.pause_until', true), '')::timestamptz, new.paused_at)
        on conflict (job_id) where job_id is not null do update
        set held_by = excluded.held_by, reason = excluded.reason, until = excluded.until,
            paused_at = excluded.paused_at, paused_by = excluded.paused_by;
    end if;
    return null;
end $$;

create or replace trigger jobs_830_keep_pause after update of paused_at on tocsin.jobs
    for each row when (new.run_of is null and new.paused_at is distinct from old.paused_at)
    execute function tocsin.keep_pause();

-- The pause of a tag that a job is to obey; null: none of its tags is paused.
create or replace function tocsin.pausing_tag(tags text[])
returns uuid language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (select p.id from tocsin.pauses p where p.tag = any (tags) order by p.id limit 1);
end $$;

-- Has a job that a person gives a paused tag, or resumes, obey the pause of the tag; and lets one go that loses the tag.
create or replace function tocsin.obey_pauses()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    held_by uuid;
begin
    if current_setting('tocsin.runs', true) = 'on' or new.run_of is not null then
        return new;
    end if;
    if new.paused_at is null or new.tags is distinct from old.tags then
        held_by := tocsin.pausing_tag(new.tags);
        if new.paused_at is null and held_by is not null then
            new.paused_at := clock_timestamp();
            perform set_config('tocsin.pause_held_by', held_by::text, true);
        elsif held_by is null and new.paused_at is not distinct from old.paused_at and tocsin.is_held(new.id) then
            new.paused_at := null;
        end if;
    end if;
    return new;
end $$;

-- Whether it is the pause of a tag that pauses a job.
create or replace function tocsin.is_held(job_id uuid)
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from tocsin.pauses p where p.job_id = is_held.job_id and p.held_by is not null);
end $$;

create or replace trigger jobs_060_obey_pauses before update of paused_at, tags on tocsin.jobs
    for each row
    when (new.tags <> '{}' and (new.tags is distinct from old.tags or (new.paused_at is null and old.paused_at is not null)))
    execute function tocsin.obey_pauses();

-- Pauses a job, says why, and until when: select tocsin.pause('nightly-report', 'the receiver is moved', now() + interval '2 hours');
-- At that instant the job is resumed. What executes goes on. The plan stays as it is. Returns the job; no row: there is
-- no such job, or a trigger of users suppresses the change.
create or replace function tocsin.pause(job uuid, reason text default null, until timestamptz default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform tocsin.check_pause(reason, until);
    perform set_config('tocsin.pause_reason', coalesce(reason, ''), true);
    perform set_config('tocsin.pause_until', coalesce(until::text, ''), true);
    perform set_config('tocsin.pause_held_by', '', true);
    return query
        update tocsin.jobs j
        set paused_at = case
            when j.paused_at is not null and num_nonnulls(pause.reason, pause.until) = 0 and not tocsin.is_held(j.id)
                then j.paused_at
            else clock_timestamp() end
        where j.id = pause.job and j.run_of is null returning j.*;
    perform set_config('tocsin.pause_reason', '', true);
    perform set_config('tocsin.pause_until', '', true);
    if until is not null then
        perform tocsin.wake();  -- for the end of it
    end if;
end $$;

-- Refuses a reason of more than 1,000 characters, and an end that is past or too far ahead.
create or replace function tocsin.check_pause(reason text, until timestamptz)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if length(reason) > 1000 then
        perform tocsin.refuse('reason', 'is too long', 'Use at most 1000 characters.');
    elsif until <= clock_timestamp() then
        perform tocsin.refuse('until', 'has passed', 'Write a later instant, or leave it out.');
    elsif until > '2200-01-01 00:00Z' then
        perform tocsin.refuse('until', 'is out of range', 'Write an instant up to the year 2200, or leave it out.');
    end if;
end $$;

-- Resumes a job. What becomes of the runs that it missed: skip drops them, once carries out the latest, all carries out
-- up to max_catchup; without that they are treated as the misfire of the job says. The dropped ones are on record as
-- missed, reason paused. Returns the job; no row as above.
create or replace function tocsin.resume(job uuid, missed text default null)
returns setof tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stored tocsin.jobs;
begin
    perform tocsin.check_missed(missed);
    select * into stored from tocsin.jobs j where j.id = resume.job and j.run_of is null for no key update;
    if stored.paused_at is not null and tocsin.pausing_tag(stored.tags) is not null then
        perform tocsin.refuse('paused_at', 'is that of a tag which is paused', 'Resume the tag: select tocsin.resume_tag(tag).');
    end if;
    return query
        update tocsin.jobs j
        set paused_at = null,
            resumed_at = case when stored.paused_at is null or resume.missed is null then j.resumed_at else clock_timestamp() end,
            resume_missed = case when stored.paused_at is null or resume.missed is null then j.resume_missed else resume.missed end
        where j.id = stored.id returning j.*;
end $$;

-- Refuses what is none of skip, once and all.
create or replace function tocsin.check_missed(missed text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if missed not in ('skip', 'once', 'all') then
        perform tocsin.refuse('missed', format('%L is unknown', left(missed, 100)),
            'Write skip, once or all; or leave it out, for what the misfire of the job says.');
    end if;
end $$;

-- Pauses all jobs that have a tag, those to come as well. Who may insert into tocsin.pauses may do so. Returns the pause.
create or replace function tocsin.pause_tag(tag text, reason text default null, until timestamptz default null)
returns setof tocsin.pauses language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    paused tocsin.pauses;
begin
    perform tocsin.check_pause(pause_tag.reason, pause_tag.until);
    if pause_tag.tag is null or pause_tag.tag = '' or pause_tag.tag ~ ',' or length(pause_tag.tag) > 200 then
        perform tocsin.refuse('tag', 'is no tag that a job can have', 'Write 1 to 200 characters without a comma.');
    end if;
    insert into tocsin.pauses as p (tag, reason, until) values (pause_tag.tag, pause_tag.reason, pause_tag.until)
    on conflict (tag) where p.tag is not null do update
    set reason = excluded.reason, until = excluded.until, paused_by = excluded.paused_by
    returning * into paused;
    perform tocsin.hold_jobs(paused.id, array(
        select j.id from tocsin.jobs j
        where j.tags @> array[pause_tag.tag] and j.tags <> '{}' and j.paused_at is null and j.run_of is null
          and (j.next_run is not null or j.planned_at is null or j.pending_runs > 0)
        limit 10000));
    perform tocsin.wake();
    return next paused;
end $$;

-- Pauses all: no instance claims anything until it is over. Returns the pause.
create or replace function tocsin.pause_all(reason text default null, until timestamptz default null)
returns setof tocsin.pauses language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform tocsin.check_pause(reason, until);
    return query
        insert into tocsin.pauses as p (reason, until) values (pause_all.reason, pause_all.until)
        on conflict ((true)) where p.job_id is null and p.tag is null do update
        set reason = excluded.reason, until = excluded.until, paused_by = excluded.paused_by
        returning *;
    perform tocsin.wake();
end $$;

-- Pauses jobs for the pause of a tag, and their runs; no edit of them. Those whose rows others have locked are left
-- until they are claimed. Returns those that are paused.
create or replace function tocsin.hold_jobs(pause_id uuid, ids uuid[])
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    many bigint;
begin
    perform set_config('tocsin.runs', 'on', true);
    perform set_config('tocsin.pause_held_by', pause_id::text, true);
    with free as materialized (
        select j.id from tocsin.jobs j
        where (j.id = any (ids) or j.run_of = any (ids)) and j.paused_at is null
        order by j.run_of is not null, j.id
        for no key update skip locked
    )
    update tocsin.jobs j set paused_at = clock_timestamp() from free where j.id = free.id;
    get diagnostics many = row_count;
    perform set_config('tocsin.pause_held_by', '', true);
    perform set_config('tocsin.runs', '', true);
    return many;
end $$;

-- Of rows that a look has claimed returns those whose job has a paused tag, and pauses these jobs.
create or replace function tocsin.hold_claimed(ids uuid[])
returns setof uuid language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one record;
begin
    for one in
        select p.id as pause_id, array_agg(distinct j.id) as jobs, array_agg(claimed.id) as claimed
        from unnest(ids) as claimed (id)
        join tocsin.jobs row_of_it on row_of_it.id = claimed.id
        join tocsin.jobs j on j.id = coalesce(row_of_it.run_of, row_of_it.id)
        join lateral (
            select p.id from tocsin.pauses p where p.tag = any (j.tags) order by p.id limit 1) as p on true
        group by p.id
    loop
        perform tocsin.hold_jobs(one.pause_id, one.jobs);
        return query select unnest(one.claimed);
    end loop;
end $$;

-- Ends a pause: of a tag or of everything with what becomes of missed runs as tocsin.resume has it. Returns of how many
-- jobs it was told; null: there is no such pause any more.
create or replace function tocsin.end_pause(pause_id uuid, missed text default null)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ended tocsin.pauses;
    many bigint := 0;
begin
    perform tocsin.check_missed(missed);
    delete from tocsin.pauses p where p.id = end_pause.pause_id returning * into ended;
    if ended.id is null then
        return null;
    end if;
    perform set_config('tocsin.runs', 'on', true);
    if ended.tag is not null then
        with held as materialized (
            select j.id from tocsin.pauses p join tocsin.jobs j on j.id = p.job_id
            where p.held_by = ended.id order by j.id for no key update of j
        )
        update tocsin.jobs j
        set paused_at = null,
            resumed_at = case when missed is null then j.resumed_at else clock_timestamp() end,
            resume_missed = coalesce(missed, j.resume_missed)
        from held where j.id = held.id and tocsin.pausing_tag(j.tags) is null;
        get diagnostics many = row_count;
        update tocsin.jobs r set paused_at = null
        from tocsin.jobs j
        where r.run_of = j.id and r.paused_at is not null and j.paused_at is null and j.tags @> array[ended.tag] and j.tags <> '{}';
        update tocsin.pauses p set held_by = tocsin.pausing_tag(j.tags)
        from tocsin.jobs j where p.held_by = ended.id and j.id = p.job_id and tocsin.pausing_tag(j.tags) is not null;
        delete from tocsin.pauses p where p.held_by = ended.id;  -- of jobs that are gone
    elsif ended.job_id is null and missed is not null then
        update tocsin.jobs j set resumed_at = clock_timestamp(), resume_missed = end_pause.missed
        where tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= clock_timestamp() and j.run_of is null;
        get diagnostics many = row_count;
    end if;
    perform set_config('tocsin.runs', '', true);
    perform tocsin.wake();
    return many;
end $$;

-- Ends the pause of a tag; missed says what becomes of the runs that its jobs missed: skip, once or all. Returns of how many
-- jobs it was told; null: the tag is not paused.
create or replace function tocsin.resume_tag(tag text, missed text default null)
returns bigint language sql
begin atomic
    select tocsin.end_pause(p.id, resume_tag.missed) from tocsin.pauses p where p.tag = resume_tag.tag;
end;

-- Ends the pause of everything; missed says what becomes of the runs that were missed: skip, once or all. Returns of how
-- many jobs it was told; null: nothing is paused.
create or replace function tocsin.resume_all(missed text default null)
returns bigint language sql
begin atomic
    select tocsin.end_pause(p.id, resume_all.missed) from tocsin.pauses p where p.job_id is null and p.tag is null;
end;

-- Whether no run of a job may start now, though the job itself is not on pause: everything is, or one of its tags, or its
-- flow, or its flow is held for a target that asked for that.
create or replace function tocsin.is_held_up(job tocsin.jobs)
returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from tocsin.pauses p where p.scope = 0)
        or (job.tags <> '{}' and tocsin.pausing_tag(job.tags) is not null)
        or (job.flow_key is not null and (
            (tocsin.flow_limits(job.flow_key)).paused_at is not null
            or exists (select from tocsin.flow_states s where s.flow_key = job.flow_key and s.held_until > clock_timestamp())));
end $$;

-- Ends up to 100 pauses whose time is over, and returns how many. One that cannot be ended, as a trigger of users
-- refuses it, is left for a minute.
create or replace function tocsin.end_pauses(moment timestamptz)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    one tocsin.pauses;
    many bigint := 0;
begin
    for one in
        select * from tocsin.pauses p where p.ends_at <= moment
        order by p.ends_at limit 100 for update skip locked
    loop
        begin
            if one.job_id is null then
                perform tocsin.end_pause(one.id);
            else
                update tocsin.jobs j set paused_at = null
                where j.id = (select l.id from tocsin.jobs l where l.id = one.job_id for no key update skip locked);
                if not found and not exists (select from tocsin.jobs j where j.id = one.job_id) then
                    delete from tocsin.pauses p where p.id = one.id;
                elsif not found then
                    raise exception 'locked, or suppressed';
                end if;
            end if;
            many := many + 1;
        exception when others then
            update tocsin.pauses p set ends_at = clock_timestamp() + interval '1 minute' where p.id = one.id;
        end;
    end loop;
    return many;
end $$;

-- Pauses a job that is given by its name, or by its id as text: says why (reason, up to 1,000 characters), and until when; null:
-- until it is resumed. What executes goes on, and the plan stays as it is. Returns the job; no row: there is no such job, or
-- a trigger of users suppresses the change.
create or replace function tocsin.pause(job text, reason text default null, until timestamptz default null)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.pause(tocsin.job_id(pause.job), pause.reason, pause.until) as s;
end;

-- Resumes a job that is given by its name, or by its id as text. What becomes of the runs that it missed (missed): skip drops
-- them, once carries out the latest, all carries out up to max_catchup; null: as the misfire of the job says. Returns the
-- job; no row: there is no such job, or a trigger of users suppresses the change.
create or replace function tocsin.resume(job text, missed text default null)
returns setof tocsin.jobs language sql
begin atomic
    select s.* from tocsin.resume(tocsin.job_id(resume.job), resume.missed) as s;
end;

-- Pauses of a tag and of everything in the audit log, and of a job what paused_at does not say.
create or replace function tocsin.audit_pause()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    one constant tocsin.pauses := coalesce(new, old);
begin
    if one.held_by is not null or (one.job_id is not null and num_nonnulls(one.reason, one.until) = 0) then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    select case when one.job_id is not null or tg_op = 'UPDATE' then 'update' when tg_op = 'INSERT' then 'create' else 'delete' end,
        case when one.job_id is null then 'pause' else 'job' end, coalesce(one.job_id, one.id),
        case when one.job_id is null then coalesce(one.tag, 'everything') else j.name end,
        case when one.job_id is not null then '{pause}'::text[] when tg_op = 'UPDATE' then '{reason,until}'::text[] end,
        case when old.id is not null then jsonb_build_object('reason', old.reason, 'until', old.until, 'tag', old.tag, 'paused_at', old.paused_at) end,
        case when new.id is not null then jsonb_build_object('reason', new.reason, 'until', new.until, 'tag', new.tag, 'paused_at', new.paused_at) end
    from (select) as row left join tocsin.jobs j on j.id = one.job_id
    where one.job_id is null or tg_op <> 'DELETE';  -- paused_at says that
    return null;
end $$;

create or replace trigger pauses_800_audit after insert or update of reason, until or delete on tocsin.pauses
    for each row execute function tocsin.audit_pause();

-- What pauses a job, as the API shows it: of a pause of its tag whose that is. Not inlined, as to plan the subquery takes
-- longer than to read a job.
create or replace function tocsin.pause_of(job tocsin.jobs)
returns jsonb language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if job.paused_at is null then
        return null;
    end if;
    return coalesce((
        select jsonb_build_object('paused_at', job.paused_at, 'paused_by', coalesce(h.paused_by, p.paused_by),
            'reason', coalesce(h.reason, p.reason), 'until', coalesce(h.until, p.until), 'tag', h.tag)
        from tocsin.pauses p left join tocsin.pauses h on h.id = p.held_by
        where p.job_id = job.id),
        jsonb_build_object('paused_at', job.paused_at));
end $$;

comment on function tocsin.next_end() is
    'Works out at which instant a pause ends, as its until is written.';
comment on function tocsin.keep_pause() is
    'Says in tocsin.pauses what becomes of a job''s paused_at; what tocsin.pause was told of it is in settings.';
comment on function tocsin.pausing_tag(tags text[]) is
    'The pause of a tag that a job is to obey; null: none of its tags is paused.';
comment on function tocsin.obey_pauses() is
    'Has a job that a person gives a paused tag, or resumes, obey the pause of the tag; and lets one go that loses the tag.';
comment on function tocsin.is_held(job_id uuid) is
    'Whether it is the pause of a tag that pauses a job.';
comment on function tocsin.pause(job uuid, reason text, until timestamptz) is
    'Pauses a job, says why, and until when: select tocsin.pause(''nightly-report'', ''the receiver is moved'', now() + interval ''2 hours''); At that instant the job is resumed. What executes goes on. The plan stays as it is. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.';
comment on function tocsin.check_pause(reason text, until timestamptz) is
    'Refuses a reason of more than 1,000 characters, and an end that is past or too far ahead.';
comment on function tocsin.resume(job uuid, missed text) is
    'Resumes a job. What becomes of the runs that it missed: skip drops them, once carries out the latest, all carries out up to max_catchup; without that they are treated as the misfire of the job says. The dropped ones are on record as missed, reason paused. Returns the job; no row as above.';
comment on function tocsin.check_missed(missed text) is
    'Refuses what is none of skip, once and all.';
comment on function tocsin.pause_tag(tag text, reason text, until timestamptz) is
    'Pauses all jobs that have a tag, those to come as well. Who may insert into tocsin.pauses may do so. Returns the pause.';
comment on function tocsin.pause_all(reason text, until timestamptz) is
    'Pauses all: no instance claims anything until it is over. Returns the pause.';
comment on function tocsin.hold_jobs(pause_id uuid, ids uuid[]) is
    'Pauses jobs for the pause of a tag, and their runs; no edit of them. Those whose rows others have locked are left until they are claimed. Returns those that are paused.';
comment on function tocsin.hold_claimed(ids uuid[]) is
    'Of rows that a look has claimed returns those whose job has a paused tag, and pauses these jobs.';
comment on function tocsin.end_pause(pause_id uuid, missed text) is
    'Ends a pause: of a tag or of everything with what becomes of missed runs as tocsin.resume has it. Returns of how many jobs it was told; null: there is no such pause any more.';
comment on function tocsin.resume_tag(tag text, missed text) is
    'Ends the pause of a tag; missed says what becomes of the runs that its jobs missed: skip, once or all. Returns of how many jobs it was told; null: the tag is not paused.';
comment on function tocsin.resume_all(missed text) is
    'Ends the pause of everything; missed says what becomes of the runs that were missed: skip, once or all. Returns of how many jobs it was told; null: nothing is paused.';
comment on function tocsin.is_held_up(job tocsin.jobs) is
    'Whether no run of a job may start now, though the job itself is not on pause: everything is, or one of its tags, or its flow, or its flow is held for a target that asked for that.';
comment on function tocsin.end_pauses(moment timestamptz) is
    'Ends up to 100 pauses whose time is over, and returns how many. One that cannot be ended, as a trigger of users refuses it, is left for a minute.';
comment on function tocsin.pause(job text, reason text, until timestamptz) is
    'Pauses a job that is given by its name, or by its id as text: says why (reason, up to 1,000 characters), and until when; null: until it is resumed. What executes goes on, and the plan stays as it is. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.';
comment on function tocsin.resume(job text, missed text) is
    'Resumes a job that is given by its name, or by its id as text. What becomes of the runs that it missed (missed): skip drops them, once carries out the latest, all carries out up to max_catchup; null: as the misfire of the job says. Returns the job; no row: there is no such job, or a trigger of users suppresses the change.';
comment on function tocsin.audit_pause() is
    'Pauses of a tag and of everything in the audit log, and of a job what paused_at does not say.';
comment on function tocsin.pause_of(job tocsin.jobs) is
    'What pauses a job, as the API shows it: of a pause of its tag whose that is. Not inlined, as to plan the subquery takes longer than to read a job.';
-- db/triggers/8_verbs.sql: what is done with a job by its name, by those who see no targets.

-- What follows acts on a job by its name, or by its id as text, and, unless its own words say otherwise, answers with its id;
-- null: there is no such job, or a trigger of users suppresses it. It runs with the rights of the tables' owner, for roles that see no targets: see
-- db/roles.sql, which lets the role of writers call it.

-- Pauses a job that is given by its name, or by its id as text: says why (reason, up to 1,000 characters), and until when; null:
-- until it is resumed. What executes goes on. Returns the id; null: there is no such job.
create or replace function tocsin.pause_job(job text, reason text default null, until timestamptz default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.pause(tocsin.job_id(pause_job.job), pause_job.reason, pause_job.until) as j
$$;

-- Resumes a job that is given by its name, or by its id as text. missed says what becomes of the runs that were due meanwhile:
-- skip, once (the latest) or all (up to max_catchup); null: as the misfire of the job says. Returns the id; null: there is
-- no such job.
create or replace function tocsin.resume_job(job text, missed text default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.resume(tocsin.job_id(resume_job.job), resume_job.missed) as j
$$;

-- Skips the next so many runs (from 1) of the plan of a job that is given by its name, or by its id as text; 0 takes that
-- back. Returns the id; null: there is no such job.
create or replace function tocsin.skip_next(job text, runs integer default 1)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if runs = 0 then
        return (select j.id from tocsin.unskip(tocsin.job_id(skip_next.job)) as j);
    end if;
    return (select j.id from tocsin.skip(tocsin.job_id(skip_next.job), skip_next.runs) as j);
end $$;

-- Makes a job that is given by its name, or by its id as text, due now, beside its plan. Returns its id; null: there is no such
-- job.
create or replace function tocsin.run_job(job text)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select j.id from tocsin.run_now(tocsin.job_id(run_job.job)) as j
$$;

-- Cuts off what a job executes that is given by its name, or by its id as text; with retry it is tried again after the
-- backoff, if max_attempts leaves an attempt. Returns the id of the execution; null: nothing is under way.
create or replace function tocsin.cancel_job(job text, retry boolean default false)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    under_way bigint;
begin
    select tocsin.execution_under_way(j) into under_way from tocsin.jobs j where j.id = tocsin.job_id(cancel_job.job);
    return (select x.id from tocsin.cancel(under_way, cancel_job.retry) as x);
end $$;

-- Carries out the runs that the schedule of a job, given by its name, or by its id as text, has in [since, until). rate_per_second:
-- how many are asked for in a second; null: no limit. overlap: as with tocsin.run_now. Returns the id of the bulk action, which
-- instances carry out after COMMIT; the name of no job is an error.
create or replace function tocsin.backfill_job(
    job text, since timestamptz, until timestamptz, rate_per_second numeric default null, overlap text default null)
returns uuid language sql security definer set search_path = pg_catalog, pg_temp as $$
    select tocsin.backfill(backfill_job.job, backfill_job.since, backfill_job.until, backfill_job.rate_per_second,
        backfill_job.overlap)
$$;

-- Explains why a job, given by its name, or by its id as text, has not run, or, with at, what became of the run of that instant.
-- Returns the reasons, the one that holds it first, as tocsin.explain does; no row: there is no such job.
create or replace function tocsin.explain_job(job text, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select e.* from tocsin.explain(explain_job.job, explain_job.at) as e
$$;

revoke all on function tocsin.pause_job, tocsin.resume_job, tocsin.skip_next, tocsin.run_job, tocsin.cancel_job,
    tocsin.backfill_job, tocsin.explain_job from public;

comment on function tocsin.pause_job(job text, reason text, until timestamptz) is
    'Pauses a job that is given by its name, or by its id as text: says why (reason, up to 1,000 characters), and until when; null: until it is resumed. What executes goes on. Returns the id; null: there is no such job.';
comment on function tocsin.resume_job(job text, missed text) is
    'Resumes a job that is given by its name, or by its id as text. missed says what becomes of the runs that were due meanwhile: skip, once (the latest) or all (up to max_catchup); null: as the misfire of the job says. Returns the id; null: there is no such job.';
comment on function tocsin.skip_next(job text, runs integer) is
    'Skips the next so many runs (from 1) of the plan of a job that is given by its name, or by its id as text; 0 takes that back. Returns the id; null: there is no such job.';
comment on function tocsin.run_job(job text) is
    'Makes a job that is given by its name, or by its id as text, due now, beside its plan. Returns its id; null: there is no such job.';
comment on function tocsin.cancel_job(job text, retry boolean) is
    'Cuts off what a job executes that is given by its name, or by its id as text; with retry it is tried again after the backoff, if max_attempts leaves an attempt. Returns the id of the execution; null: nothing is under way.';
comment on function tocsin.backfill_job(job text, since timestamptz, until timestamptz, rate_per_second numeric, overlap text) is
    'Carries out the runs that the schedule of a job, given by its name, or by its id as text, has in [since, until). rate_per_second: how many are asked for in a second; null: no limit. overlap: as with tocsin.run_now. Returns the id of the bulk action, which instances carry out after COMMIT; the name of no job is an error.';
comment on function tocsin.explain_job(job text, at timestamptz) is
    'Explains why a job, given by its name, or by its id as text, has not run, or, with at, what became of the run of that instant. Returns the reasons, the one that holds it first, as tocsin.explain does; no row: there is no such job.';
-- db/triggers/8_views.sql: how jobs stand, for people who look from psql; without targets, and with the rights of the
-- tables' owner.

-- The next run of each job that waits for one or executes: select * from tocsin.upcoming order by at limit 20;
create or replace view tocsin.upcoming as
    select greatest(j.next_run, j.locked_until) as at, j.id as job_id, j.name as job_name, j.kind, j.tags,
        coalesce(j.scheduled_for, j.next_run) as scheduled_for, tocsin.state(j) as state,
        tocsin.is_skipped(j) as is_skipped, j.flow_key, j.priority
    from tocsin.jobs j
    where (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and j.run_of is null;

-- What ended in the last day: select * from tocsin.recent_executions order by id desc limit 20;
create or replace view tocsin.recent_executions as
    select x.id, x.job_id, j.name as job_name, x.kind, x.scheduled_for, x.attempt, x.outcome, x.reason, x.started_at,
        x.finished_at, extract(epoch from x.started_at - x.scheduled_for) as lag_seconds,
        extract(epoch from x.finished_at - x.started_at) as duration_seconds, x.instance, x.status_code, x.error
    from tocsin.executions x left join tocsin.jobs j on j.id = x.job_id
    where x.finished_at > now() - interval '1 day';

-- The jobs that go on although their last runs failed, or are over with a failure, or cannot be planned.
create or replace view tocsin.failing_jobs as
    select j.id as job_id, j.name as job_name, j.kind, j.tags, tocsin.state(j) as state, j.consecutive_failures,
        j.last_outcome, j.last_finished_at, j.next_run, j.plan_error
    from tocsin.jobs j
    where j.consecutive_failures > 0 and j.next_run is not null and j.run_of is null
    union all
    select j.id, j.name, j.kind, j.tags, tocsin.state(j), j.consecutive_failures, j.last_outcome, j.last_finished_at,
        j.next_run, j.plan_error
    from tocsin.jobs j
    where tocsin.is_aside(j) and tocsin.aside_state(j) in ('failed', 'invalid') and j.next_run is null;

-- How all of it stands, in one row; each count ends at 10,000.
create or replace view tocsin.overview as
    select
        (select count(*) from (
            (select from tocsin.jobs j where tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= now() limit 10000)
            union all
            (select from tocsin.jobs j where tocsin.is_flow_claimable(j) and greatest(j.next_run, j.locked_until) <= now() limit 10000)
        ) as due) as due,
        (select count(*) from (
            select from tocsin.jobs j where j.locked_until > now() limit 10000) as leased) as executing,
        (select count(*) from (select from tocsin.failing_jobs f limit 10000) as failing) as failing,
        (select count(*) from (
            select from tocsin.jobs j
            where tocsin.is_aside(j) and tocsin.aside_state(j) = 'paused' limit 10000) as paused) as paused,
        (select count(*) from (
            select from tocsin.executions x
            where x.finished_at > now() - interval '1 hour' and x.outcome = 'succeeded' limit 10000) as ended) as succeeded_last_hour,
        (select count(*) from (
            select from tocsin.executions x
            where x.finished_at > now() - interval '1 hour' and x.outcome <> 'succeeded' limit 10000) as ended) as troubled_last_hour,
        (select min(at) from (
            (select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j where tocsin.is_claimable(j) order by 1 limit 1)
            union all
            (select greatest(j.next_run, j.locked_until) from tocsin.jobs j where tocsin.is_flow_claimable(j) order by 1 limit 1)
        ) as next) as next_run;

-- The runs that are next within a time from now, the earliest first: select * from tocsin.upcoming(interval '1 hour');
create or replace function tocsin.upcoming(within interval)
returns setof tocsin.upcoming language sql stable set search_path = pg_catalog, pg_temp as $$
    select u.* from tocsin.upcoming as u where u.at <= now() + within order by u.at
$$;

-- The jobs whose time has come, and that no instance has claimed yet; the oldest first.
create or replace function tocsin.due()
returns setof tocsin.upcoming language sql stable set search_path = pg_catalog, pg_temp as $$
    select u.* from tocsin.upcoming as u where u.at <= now() order by u.at
$$;

comment on view tocsin.upcoming is
    'The next run of each job that waits for one or executes: select * from tocsin.upcoming order by at limit 20;';
comment on view tocsin.recent_executions is
    'What ended in the last day: select * from tocsin.recent_executions order by id desc limit 20;';
comment on view tocsin.failing_jobs is
    'The jobs that go on although their last runs failed, or are over with a failure, or cannot be planned.';
comment on view tocsin.overview is
    'How all of it stands, in one row; each count ends at 10,000.';
comment on function tocsin.upcoming(within interval) is
    'The runs that are next within a time from now, the earliest first: select * from tocsin.upcoming(interval ''1 hour'');';
comment on function tocsin.due() is
    'The jobs whose time has come, and that no instance has claimed yet; the oldest first.';
-- db/triggers/9_comments.sql: what tables and columns are, as psql shows it. What stands above a function or a view in these
-- files becomes its comment by itself: see tests/support/triggers.py.

comment on table tocsin.schema_migrations is
    'The migrations that this database has, one row each; tocsin migrate enters them.';
comment on column tocsin.schema_migrations.version is 'Number of the file in db/migrations, from 1.';
comment on column tocsin.schema_migrations.breaking is 'Whether an instance that was built for an older version must not run.';
comment on column tocsin.schema_migrations.applied_at is 'When the migration was carried out.';

comment on table tocsin.schema_functions is
    'What tocsin migrate applied of db/triggers.sql, in one row: where both digests are the same nothing is left to do.';
comment on column tocsin.schema_functions.one is 'Always true: there is one row.';
comment on column tocsin.schema_functions.source is 'Digest of the script that was applied.';
comment on column tocsin.schema_functions.catalog is 'Digest of the functions and triggers that were found afterwards.';
comment on column tocsin.schema_functions.release is 'Release of Tocsin that applied it; an older one replaces nothing.';
comment on column tocsin.schema_functions.applied_at is 'When that was.';

comment on table tocsin.jobs is
    'Jobs: what to do (kind, target), when (one of run_at, cron, every_seconds), and how each stands. People write the columns down to paused_at, overlap, skip_runs, skip_until, flow_key, and from jitter_seconds on; triggers and instances keep the rest. An INSERT, UPDATE or DELETE takes effect with COMMIT, which wakes the instances. A value that is out of range is refused (23514) with its column and a hint.';
comment on column tocsin.jobs.id is 'Made by tocsin.uuid7(), so that ids are in the order of their creation.';
comment on column tocsin.jobs.name is 'Unique where it is not null; 1 to 200 characters without "/" and control characters, nothing that looks like an id, and none of tocsin.is_reserved.';
comment on column tocsin.jobs.description is 'For people; up to 10,000 characters.';
comment on column tocsin.jobs.tags is 'Words to find jobs by and to pause them: up to 100 of up to 200 characters, without commas.';
comment on column tocsin.jobs.metadata is 'Yours: a JSON object of up to 65,536 bytes as Postgres writes it out. Tocsin reads "metrics" (true: metrics of its own) and "traceparent".';
comment on column tocsin.jobs.kind is 'Which executor carries the job out: http, amqp, smtp, check, or another one that is installed.';
comment on column tocsin.jobs.target is 'The instructions of the kind, such as {"url": "https://example.com/hook"}: a JSON object of up to 262,144 bytes. Secrets are named as ${secret:NAME}.';
comment on column tocsin.jobs.run_at is 'Once, at this instant. Exactly one of run_at, cron and every_seconds is given.';
comment on column tocsin.jobs.cron is 'Recurring: 5 fields, 6 with seconds first, 7 with the year last, an alias such as @daily, or @every 1h30m; up to 128 characters.';
comment on column tocsin.jobs.timezone is 'Whose clocks the cron means: an IANA name, such as Europe/Paris.';
comment on column tocsin.jobs.every_seconds is 'Recurring: seconds from run to run, from 0.1 to 157,680,000 (five years).';
comment on column tocsin.jobs.dst_gap is 'What becomes of a cron''s wall time that the clocks skip: run_after runs when the clocks have moved, skip leaves it out.';
comment on column tocsin.jobs.dst_overlap is 'Of a cron''s wall time that comes twice: first, last or both.';
comment on column tocsin.jobs.starts_at is 'A recurring job has no run before this instant; null: no bound.';
comment on column tocsin.jobs.ends_at is 'A recurring job has no run from this instant on; null: no bound.';
comment on column tocsin.jobs.max_runs is 'After so many runs a recurring job is over, from 1; null: no bound.';
comment on column tocsin.jobs.max_attempts is 'How often a run is tried, the first time included: from 1 to 1,000.';
comment on column tocsin.jobs.backoff_seconds is 'Seconds before the first retry, doubled with each: 0 to 31,557,600.';
comment on column tocsin.jobs.backoff_max_seconds is 'The longest wait before a retry in seconds: 0 to 31,557,600.';
comment on column tocsin.jobs.timeout_seconds is 'How long one execution may take in seconds: 0.1 to 86,400.';
comment on column tocsin.jobs.misfire is 'What becomes of runs that nobody could start within misfire_grace_seconds: run_once carries the latest out, run_all up to max_catchup, skip none.';
comment on column tocsin.jobs.misfire_grace_seconds is 'So late in seconds a run may start: 0 to 3,155,760,000; null: 60 for a recurring job, no limit for a one-off.';
comment on column tocsin.jobs.max_catchup is 'How many missed runs misfire run_all carries out at most: 0 to 10,000.';
comment on column tocsin.jobs.paused_at is 'Since when the job is paused, and not claimed; null: it is not. tocsin.pause says why and until when as well.';
comment on column tocsin.jobs.next_run is 'The earliest instant at which the job may be claimed; of a spread run its effective one; null: nothing is planned.';
comment on column tocsin.jobs.scheduled_for is 'The nominal instant of the run that next_run is for, by which the run is known.';
comment on column tocsin.jobs.attempt is 'Attempts of that run so far; 0: it has not begun.';
comment on column tocsin.jobs.planned_at is 'When next_run was worked out; null: an instance has yet to.';
comment on column tocsin.jobs.plan_error is 'Why the job cannot be planned or executed, with the remedy; null: it can.';
comment on column tocsin.jobs.locked_until is 'End of the lease of the instance that executes the job; null: nobody does. Setting null takes the lease away.';
comment on column tocsin.jobs.locked_by is 'The instance that has, or had last, the lease: host:pid:xxxx.';
comment on column tocsin.jobs.fence is 'Raised by each claim; who extends or settles a lease has to know it.';
comment on column tocsin.jobs.claimed_at is 'When the execution under way, or the one held for a moment, was claimed.';
comment on column tocsin.jobs.claimed_for is 'The run, by its nominal instant, of the execution that has the lease.';
comment on column tocsin.jobs.claimed_attempt is 'Ordinal, from 1, of the attempt that has the lease.';
comment on column tocsin.jobs.execution_id is 'The execution that has the lease, as tocsin.executions will have it.';
comment on column tocsin.jobs.validated is 'Whether the row was found sound before its first claim; claims do not judge it again.';
comment on column tocsin.jobs.unchecked is 'Whether an instance has yet to check the target; null: the run does, as it comes soon.';
comment on column tocsin.jobs.run_of is 'Of a run beside the plan, which is a row of its own: the job that it is of; null: this is a job.';
comment on column tocsin.jobs.request is 'What asked for a run beside the plan: run_now, replay, backfill or planned; null: this is a job.';
comment on column tocsin.jobs.pending_runs is 'How many runs beside the plan are not over; the plan waits for them, but with overlap allow_all.';
comment on column tocsin.jobs.last_outcome is 'How the last run ended: succeeded, failed, timed_out, cancelled, lost or missed; null: none has.';
comment on column tocsin.jobs.last_finished_at is 'When the last run ended.';
comment on column tocsin.jobs.consecutive_failures is 'How many runs in a row did not succeed up to now; 0 again with the first that does.';
comment on column tocsin.jobs.runs is 'Runs of the plan that are over.';
comment on column tocsin.jobs.created_at is 'When the row was written first.';
comment on column tocsin.jobs.updated_at is 'When it was written last, by whomever; triggers of users may set it.';
comment on column tocsin.jobs.edited_at is 'When a person last edited it, by which instances tell that the plan was moved.';
comment on column tocsin.jobs.creation is 'Number of the creation in the audit log while it has no row there yet.';
comment on column tocsin.jobs.created_by is 'Who created it, as tocsin.actor() says.';
comment on column tocsin.jobs.created_as is 'The database user that created it.';
comment on column tocsin.jobs.created_with is 'application_name of the session that created it.';
comment on column tocsin.jobs.overlap is 'What becomes of a run that comes due while the one before is unfinished: buffer_all waits, buffer_one keeps one waiting, skip misses it, cancel_other cuts the other off, allow_all goes beside it.';
comment on column tocsin.jobs.skip_runs is 'So many runs of the plan are dropped when their time comes, 1 to 1,000; null: none.';
comment on column tocsin.jobs.skip_until is 'All runs of the plan before this instant are dropped; null: none.';
comment on column tocsin.jobs.flow_key is 'Jobs with the same key share the limits of that flow in tocsin.flows: 1 to 200 characters without "/" and "*".';
comment on column tocsin.jobs.resumed_at is 'What was due up to this instant was missed by a pause, and is treated as resume_missed says.';
comment on column tocsin.jobs.resume_missed is 'What becomes of the runs that a pause has missed: skip, once or all; null: as misfire says.';
comment on column tocsin.jobs.jitter_seconds is 'The starts of runs are spread over so many seconds, by a hash of job and instant: 0 to 31,557,600; null: none.';
comment on column tocsin.jobs.jitter_percent is 'The same as a share of the time to the next run: 0 to 100; null: none. Not beside jitter_seconds.';
comment on column tocsin.jobs.priority is 'Where more is due than can start a level counts as a minute of waiting: 0, the usual one, to 3.';
comment on column tocsin.jobs.calendars is 'Names of up to 20 calendars that the job keeps to or, with "!" before the name, avoids; null: none.';
comment on column tocsin.jobs.on_closed is 'What becomes of a run in closed time: skip misses it, next_open starts it at the opening.';
comment on column tocsin.jobs.min_gap_seconds is 'So many seconds after the end of a run the next one starts at the earliest: 0.000001 to 31,557,600; null: no gap.';

comment on table tocsin.pauses is
    'What is paused: one job (job_id), all that have a tag, or, with neither, everything. tocsin.pause, pause_tag and pause_all write it.';
comment on column tocsin.pauses.id is 'Names the pause for tocsin.end_pause.';
comment on column tocsin.pauses.job_id is 'The job that is paused; null: a tag or everything.';
comment on column tocsin.pauses.held_by is 'Of a job: the pause of a tag that pauses it; null: it is paused by itself.';
comment on column tocsin.pauses.tag is 'All jobs that have this tag are paused; null: not by a tag.';
comment on column tocsin.pauses.reason is 'Why, for people: up to 1,000 characters.';
comment on column tocsin.pauses.until is 'The instant at which it ends by itself; null: until somebody ends it.';
comment on column tocsin.pauses.paused_at is 'When it was written.';
comment on column tocsin.pauses.paused_by is 'Who paused, as tocsin.actor() says.';
comment on column tocsin.pauses.ends_at is 'As until; later if it could not be ended then.';
comment on column tocsin.pauses.scope is '0: everything, 1: a tag, 2: one job.';

comment on table tocsin.checks is
    'Address and latest pings of each job of the kind check that has had an address.';
comment on column tocsin.checks.job_id is 'The job, of the kind check.';
comment on column tocsin.checks.token_digest is 'SHA-256 of the token in the address; null: it was revoked.';
comment on column tocsin.checks.token_made_at is 'When tocsin.check_token made it.';
comment on column tocsin.checks.started_at is 'When the latest ping came that said that a run begins.';
comment on column tocsin.checks.ended_at is 'When the latest ping came that said that a run has ended, well or not.';
comment on column tocsin.checks.log is 'What pings said since started_at: up to 20,000 characters.';
comment on column tocsin.checks.minute_at is 'Begins the minute in which pings are counted.';
comment on column tocsin.checks.pings is 'How many came in that minute; more than 60 are limited.';

comment on table tocsin.polling is
    'Until when instances poll, so that writers need not notify: one row, empty after a crash.';
comment on column tocsin.polling.one is 'Always true: there is one row.';
comment on column tocsin.polling.polling_until is 'Up to this instant no notification is sent.';

comment on table tocsin.executions is
    'The history: one row for each attempt that was carried out, and one for runs that were missed. It outlives its job, and is pruned by days, which are its partitions.';
comment on column tocsin.executions.id is 'Drawn when the attempt is claimed, so that ids are in the order of claims.';
comment on column tocsin.executions.job_id is 'The job, which may be gone.';
comment on column tocsin.executions.fence is 'That of the claim; null: a missed run.';
comment on column tocsin.executions.kind is 'Kind of the job then.';
comment on column tocsin.executions.scheduled_for is 'The run, by its nominal instant; of several missed ones the first.';
comment on column tocsin.executions.attempt is 'Ordinal, from 1, within the run; null: a missed run.';
comment on column tocsin.executions.outcome is 'succeeded, failed, timed_out, cancelled, lost or missed.';
comment on column tocsin.executions.reason is 'One stable word that says more, such as status, connect, calendar or skipped: see docs/reliability.md.';
comment on column tocsin.executions.started_at is 'When the request went out; null: none did.';
comment on column tocsin.executions.finished_at is 'When it ended; the row is in the partition of that day (UTC).';
comment on column tocsin.executions.instance is 'Who carried it out: host:pid:xxxx.';
comment on column tocsin.executions.status_code is 'Status of the answer by HTTP; null: there was none.';
comment on column tocsin.executions.response is 'The beginning of the answer, with secrets replaced by ***.';
comment on column tocsin.executions.error is 'What went wrong, as a sentence.';
comment on column tocsin.executions.missed_runs is 'How many runs a missed row stands for; null: it is an attempt.';
comment on column tocsin.executions.missed_until is 'The last of these runs, by its nominal instant.';

comment on table tocsin.upkeep is
    'How housekeeping stands, a row for each of its steps.';
comment on column tocsin.upkeep.step is 'Name of the step, such as prune.';
comment on column tocsin.upkeep.done_at is 'When it last came to its end.';
comment on column tocsin.upkeep.refused is 'How many rows refused to go, the last time.';
comment on column tocsin.upkeep.failed_at is 'When it last failed; null: not since done_at.';
comment on column tocsin.upkeep.error is 'Why it failed.';

comment on table tocsin.trusted_clock is
    'How far history may be pruned, in one row: a clock that jumped ahead must not end what is kept.';
comment on column tocsin.trusted_clock.one is 'Always true: there is one row.';
comment on column tocsin.trusted_clock.trusted is 'The instant up to which the clock is trusted.';
comment on column tocsin.trusted_clock.shown is 'What the clock showed at the last pass of housekeeping.';

comment on table tocsin.zone_rules is
    'Rules of time zones that runs were planned by, to tell what a newer release of them moves.';
comment on column tocsin.zone_rules.version is 'Release of the IANA database, such as 2026f; empty: not known.';
comment on column tocsin.zone_rules.zones is 'All of its files, packed.';
comment on column tocsin.zone_rules.walking_until is 'Until when an instance has the walk over the jobs to itself; null: none is at it.';
comment on column tocsin.zone_rules.walked_at is 'When the walk came to its end; null: plans by older rules may be left.';

comment on table tocsin.instance_rules is
    'What each instance is and goes by, as it says hourly.';
comment on column tocsin.instance_rules.name is 'The instance: host:pid:xxxx.';
comment on column tocsin.instance_rules.version is 'Release of the time zone rules that it has.';
comment on column tocsin.instance_rules.source is 'Where it has these from: system or package.';
comment on column tocsin.instance_rules.told_at is 'When it last said so.';
comment on column tocsin.instance_rules.slots is 'How many executions it has room for.';
comment on column tocsin.instance_rules.product is 'Release of Tocsin that it runs.';
comment on column tocsin.instance_rules.kinds is 'Which kinds of jobs it runs; null: http and amqp.';

comment on table tocsin.resting_jobs is
    'Of each instance how many jobs it leaves alone, as they can neither be claimed nor be given a plan_error; said each minute while there are any.';
comment on column tocsin.resting_jobs.instance is 'Who says so: host:pid:xxxx.';
comment on column tocsin.resting_jobs.jobs is 'How many jobs, from 1.';
comment on column tocsin.resting_jobs.job_id is 'One of them.';
comment on column tocsin.resting_jobs.problem is 'Why that one cannot be claimed.';
comment on column tocsin.resting_jobs.told_at is 'When that was said.';

comment on table tocsin.kinds is
    'Which kinds of jobs some instance can run, as each says at its start and hourly.';
comment on column tocsin.kinds.kind is 'Name of the kind, as jobs have it.';
comment on column tocsin.kinds.told_at is 'When an instance last said so.';
comment on column tocsin.kinds.shown is 'Which parts of targets the audit log keeps: see tocsin.audited_targets.';

comment on table tocsin.calendars is
    'Named sets of time that jobs keep to or avoid: the union of dates, weekly hours, holidays, rules and events. People write the columns from description to ical.';
comment on column tocsin.calendars.name is 'Up to 100 characters without "!" at the front, comma and "/".';
comment on column tocsin.calendars.description is 'For people; up to 10,000 characters.';
comment on column tocsin.calendars.timezone is 'Whose clocks are meant: an IANA name.';
comment on column tocsin.calendars.dates is 'Days, or spans of days or hours, such as 2026-12-24 or 2026-12-24/2026-12-31.';
comment on column tocsin.calendars.weekly is 'Hours of weekdays, such as "MON-FRI 09:00-17:00"; "*" is always.';
comment on column tocsin.calendars.holidays is 'Public holidays by country or region, such as DE or DE-BY.';
comment on column tocsin.calendars.rrules is 'Rules of RFC 5545, such as "DTSTART:20260101 RRULE:FREQ=MONTHLY".';
comment on column tocsin.calendars.ical is 'Text of an .ics file, whose events count: up to 262,144 bytes.';
comment on column tocsin.calendars.times is 'The time of the calendar, worked out from a year ago to five years ahead; null: it has yet to be.';
comment on column tocsin.calendars.worked_out_at is 'When that was; null: what is written was changed since.';
comment on column tocsin.calendars.error is 'Why it cannot be worked out; the jobs that use the calendar are invalid then.';
comment on column tocsin.calendars.replan_after is 'The jobs behind this one have yet to be replanned by these times; null: none have.';
comment on column tocsin.calendars.created_at is 'When it was made.';
comment on column tocsin.calendars.updated_at is 'When it was last changed.';
comment on column tocsin.calendars.id is 'By which the audit log knows it.';

comment on table tocsin.job_calendars is
    'Which jobs use which calendars; triggers keep it.';
comment on column tocsin.job_calendars.calendar is 'Name of the calendar.';
comment on column tocsin.job_calendars.job_id is 'The job that keeps to it or avoids it.';

comment on table tocsin.maintenance is
    'Windows, laid over a tag or over all jobs: runs that are due in one are missed, or start when it is over. tocsin.maintain writes it.';
comment on column tocsin.maintenance.id is 'Names the window for tocsin.end_maintenance.';
comment on column tocsin.maintenance.tag is 'The jobs with this tag are concerned; null: all jobs.';
comment on column tocsin.maintenance.calendar is 'The window has the time of this calendar; null: that from starts_at to ends_at.';
comment on column tocsin.maintenance.starts_at is 'First instant; null with a calendar.';
comment on column tocsin.maintenance.ends_at is 'First instant after it; null with a calendar.';
comment on column tocsin.maintenance.on_closed is 'skip: runs are missed, reason maintenance; next_open: they start when it is over.';
comment on column tocsin.maintenance.reason is 'Why, for people: up to 1,000 characters.';
comment on column tocsin.maintenance.created_at is 'When it was laid.';
comment on column tocsin.maintenance.updated_at is 'When it was last changed: kept by a trigger.';
comment on column tocsin.maintenance.created_by is 'Who did so, as tocsin.actor() says.';

comment on table tocsin.put_off_runs is
    'Jobs whose run a window has put off, for when it ends sooner, or later.';
comment on column tocsin.put_off_runs.job_id is 'The job whose run waits for the end of the window.';
comment on column tocsin.put_off_runs.window_id is 'The window; null: it has changed since.';
comment on column tocsin.put_off_runs.until is 'The instant to which the run was put off.';

comment on table tocsin.flows is
    'Limits that jobs with the same flow_key share over all instances. A key with an asterisk is a pattern: of what a flow leaves null it has what the longest pattern says that matches.';
comment on column tocsin.flows.flow_key is 'As jobs have it, or a pattern such as tenant-*.';
comment on column tocsin.flows.max_concurrency is 'Executions at the same time, over all instances: 1 to 1,000,000; null: no limit.';
comment on column tocsin.flows.rate is 'Starts in any period_seconds: 1 to 1,000,000; null: no limit.';
comment on column tocsin.flows.period_seconds is 'Seconds that the rate is for: 0.1 to 31,557,600.';
comment on column tocsin.flows.burst is 'Starts in any period_seconds * burst / rate; null: as many as the rate.';
comment on column tocsin.flows.paused_at is 'Since when none of its jobs starts, until paused_until; null: the flow is not paused.';
comment on column tocsin.flows.pause_reason is 'Why it is paused, for those who wonder later: up to 1,000 characters.';
comment on column tocsin.flows.paused_until is 'When the pause ends by itself; null: when somebody resumes the flow.';
comment on column tocsin.flows.paused_by is 'Who paused it.';
comment on column tocsin.flows.created_at is 'When it was made.';
comment on column tocsin.flows.updated_at is 'When it was last changed.';
comment on column tocsin.flows.id is 'By which the audit log knows it.';

comment on table tocsin.flow_states is
    'How each flow stands; instances lock its row while they give permits.';
comment on column tocsin.flow_states.flow_key is 'Which flow, by the key that jobs have.';
comment on column tocsin.flow_states.held_until is 'What the target asked for, by Retry-After: nothing starts before this instant.';
comment on column tocsin.flow_states.held_for is 'Why, as a sentence.';
comment on column tocsin.flow_states.waiting_since is 'Since when some of its jobs wait for a permit; null: none do.';

comment on table tocsin.flow_starts is
    'Starts of flows that have a rate, kept as long as they count.';
comment on column tocsin.flow_starts.flow_key is 'Which flow, by the key that jobs have.';
comment on column tocsin.flow_starts.granted_at is 'When the permits were given.';
comment on column tocsin.flow_starts.instance is 'To whom: host:pid:xxxx.';
comment on column tocsin.flow_starts.many is 'How many starts one instance claimed in one look.';
comment on column tocsin.flow_starts.latest is 'When the last of them started at the latest.';

comment on table tocsin.api_keys is
    'Who may use the API. Of a key only its digest is kept; tocsin keys create shows it once.';
comment on column tocsin.api_keys.id is 'By which the audit log knows it.';
comment on column tocsin.api_keys.name is 'For people; unique among those that are not revoked.';
comment on column tocsin.api_keys.prefix is 'The part of the key that may be shown: 12 hexadecimal digits.';
comment on column tocsin.api_keys.hash is 'SHA-256 of the key.';
comment on column tocsin.api_keys.scopes is 'Any of read, write and admin.';
comment on column tocsin.api_keys.created_at is 'When it was made.';
comment on column tocsin.api_keys.expires_at is 'From this instant on it is refused; null: never.';
comment on column tocsin.api_keys.last_used_at is 'When it was last used, to the minute; null: never.';
comment on column tocsin.api_keys.revoked_at is 'Since when it is refused for good; null: it is not.';
comment on column tocsin.api_keys.max_jobs is 'How many of the jobs that exist it may have made, 1 to 1000000; null: no limit.';
comment on column tocsin.api_keys.min_interval_seconds is 'The shortest time from run to run of schedules that it writes, 0.1 s to five years; null: no limit.';
comment on column tocsin.api_keys.allowed_hosts is 'The hosts, and origins, that jobs it writes may send to; null: no limit.';
comment on column tocsin.api_keys.default_ends_in_seconds is 'After how many seconds recurring jobs end that it writes without ends_at; null: never.';

comment on table tocsin.key_jobs is
    'The jobs that were made with keys that have max_jobs; a row may outlive its job. tocsin.note_key_jobs writes it.';
comment on column tocsin.key_jobs.key_id is 'The API key.';
comment on column tocsin.key_jobs.job_id is 'What was made with it, whether or not it still exists.';

comment on table tocsin.sessions is
    'Sessions of browsers, each made with an API key. Of what the cookie holds only a digest is kept.';
comment on column tocsin.sessions.digest is 'SHA-256 of what the cookie holds.';
comment on column tocsin.sessions.key_id is 'The API key that it was made with, and ends with.';
comment on column tocsin.sessions.created_at is 'When it was made.';
comment on column tocsin.sessions.expires_at is 'From this instant on it is refused.';

comment on table tocsin.audit_log is
    'Who changed what, written by triggers only; secrets are left out. The creation of a job comes here at its first change: until then it is in tocsin.jobs.';
comment on column tocsin.audit_log.id is 'In the order of the changes.';
comment on column tocsin.audit_log.at is 'When the change was made.';
comment on column tocsin.audit_log.actor is 'Who: an API key, or a database user; what a program without the right to say so claims is called a claim.';
comment on column tocsin.audit_log.db_user is 'Who was logged in to the database, whatever the actor says.';
comment on column tocsin.audit_log.program is 'application_name of the session.';
comment on column tocsin.audit_log.action is 'create, update or delete.';
comment on column tocsin.audit_log.entity is 'What was changed: job, key, secret, flow, bulk, pause, alert_rule, alert_channel, calendar or maintenance.';
comment on column tocsin.audit_log.entity_id is 'Of which one, by the id that its row has.';
comment on column tocsin.audit_log.entity_name is 'Its name then.';
comment on column tocsin.audit_log.changed is 'The columns that were changed; null: all, as it was created or deleted.';
comment on column tocsin.audit_log.before is 'What was there before, of these columns; long values by their beginning and a hash.';
comment on column tocsin.audit_log.after is 'What came in its place.';

comment on table tocsin.secrets is
    'Named secrets, which targets refer to as ${secret:NAME}; encrypted, so not to be written from psql: echo -n value | tocsin secrets set NAME';
comment on column tocsin.secrets.id is 'By which the audit log knows it.';
comment on column tocsin.secrets.name is 'Letters, digits, "_", "." and "-": up to 100.';
comment on column tocsin.secrets.value is 'Encrypted with a key of TOCSIN_SECRET_KEYS; good for this name only.';
comment on column tocsin.secrets.hosts is 'Where it may be sent, such as *.example.com; none: anywhere.';
comment on column tocsin.secrets.created_at is 'When it was made.';
comment on column tocsin.secrets.updated_at is 'When its value was last set.';

comment on table tocsin.bulk_actions is
    'Actions on the jobs, or executions, that a filter finds: tocsin.bulk asks for one, instances carry it out in steps.';
comment on column tocsin.bulk_actions.id is 'Names the action for tocsin.cancel_bulk.';
comment on column tocsin.bulk_actions.action is 'edit, delete, pause, resume, run, skip, unskip, reschedule, cancel, replay, redrive or backfill.';
comment on column tocsin.bulk_actions.filter is 'What it is about, as the lists of the API filter: {"tag": "billing"}.';
comment on column tocsin.bulk_actions.options is 'What the action needs besides, such as {"runs": 2}.';
comment on column tocsin.bulk_actions.expected is 'How many were found when it was asked for; null: nobody counted.';
comment on column tocsin.bulk_actions.asked_at is 'When it was asked for; what is created later is left alone.';
comment on column tocsin.bulk_actions.asked_by is 'Who asked, as tocsin.actor() says.';
comment on column tocsin.bulk_actions.started_at is 'When an instance began; null: none has.';
comment on column tocsin.bulk_actions.ended_at is 'When it was over; null: it is not.';
comment on column tocsin.bulk_actions.cancelled_at is 'When a person ended it before its end; what is done stays done.';
comment on column tocsin.bulk_actions.error is 'Why it ended before its end.';
comment on column tocsin.bulk_actions.reached is 'The last job or execution that is done.';
comment on column tocsin.bulk_actions.matched is 'How many the filter has found so far.';
comment on column tocsin.bulk_actions.changed is 'Of these, how many were changed.';
comment on column tocsin.bulk_actions.unchanged is 'Of these, how many already were as asked.';
comment on column tocsin.bulk_actions.failed is 'Of these, how many could not be changed.';
comment on column tocsin.bulk_actions.problems is 'Of the first that failed: their ids and why.';
comment on column tocsin.bulk_actions.locked_until is 'Until when an instance has it to itself.';
comment on column tocsin.bulk_actions.locked_by is 'Which instance: host:pid:xxxx.';
comment on column tocsin.bulk_actions.limits is 'The limits of the API key that asked, to which the edits keep; null: there are none.';

comment on table tocsin.alert_channels is
    'Where alerts go to: each message is a job of the preset''s kind with this target.';
comment on column tocsin.alert_channels.id is 'By which the audit log knows it.';
comment on column tocsin.alert_channels.name is 'By which rules name it; up to 200 characters.';
comment on column tocsin.alert_channels.preset is 'Form of the message: webhook, slack, teams, discord, pagerduty, opsgenie, alertmanager, amqp, smtp or template.';
comment on column tocsin.alert_channels.target is 'The target of the message''s job, without the message; up to 131,072 bytes.';
comment on column tocsin.alert_channels.created_at is 'When it was made.';
comment on column tocsin.alert_channels.updated_at is 'When it was last changed.';
comment on column tocsin.alert_channels.fallback is 'Name of the channel that is told what this one could not deliver; null: none.';

comment on table tocsin.alert_rules is
    'What is told, of which jobs (of one, of those with a tag or, with neither, of all), and by which channels.';
comment on column tocsin.alert_rules.id is 'By which alerts and the audit log know it.';
comment on column tocsin.alert_rules.name is 'For people; unique, up to 200 characters.';
comment on column tocsin.alert_rules.events is 'Which: failed, exhausted, missed, invalid, late, not_succeeded, slow, backlog, no_instance, recovered.';
comment on column tocsin.alert_rules.job_id is 'Of this job only; null: of more.';
comment on column tocsin.alert_rules.tag is 'Of jobs with this tag only; null: not by a tag.';
comment on column tocsin.alert_rules.after is 'So many in a row make it told: 1 to 1,000.';
comment on column tocsin.alert_rules.seconds is 'How late, how long or for how long without a success, in seconds: 1 to 31,557,600.';
comment on column tocsin.alert_rules.reasons is 'Of missed runs, which reasons count; null: all but paused, skipped, calendar and maintenance.';
comment on column tocsin.alert_rules.channels is 'Names of up to 20 channels; none: alerts are on record only.';
comment on column tocsin.alert_rules.created_at is 'When it was made.';
comment on column tocsin.alert_rules.updated_at is 'When it was last changed.';
comment on column tocsin.alert_rules.begun_at is 'What ended earlier is not told of.';
comment on column tocsin.alert_rules.factor is 'Of slow: how many times as long as usual, 1 to 1,000.';
comment on column tocsin.alert_rules.more_than is 'Of backlog: how many jobs, 0 to 100,000.';
comment on column tocsin.alert_rules.remind_seconds is 'So many seconds after it was told a job is told of again while it is not over: 60 to 31,557,600; null: it is not.';

comment on table tocsin.alert_states is
    'How a rule stands for one job: how many of an event came in a row, and whether that was told. No row: all is well.';
comment on column tocsin.alert_states.rule_id is 'Which rule of tocsin.alert_rules.';
comment on column tocsin.alert_states.event is 'Which of its events.';
comment on column tocsin.alert_states.job_id is 'The job; all zeros: of no single one.';
comment on column tocsin.alert_states.many is 'How many in a row, from 1.';
comment on column tocsin.alert_states.execution_id is 'The latest of them.';
comment on column tocsin.alert_states.since is 'End of the first of them.';
comment on column tocsin.alert_states.last_at is 'End of the latest of them.';
comment on column tocsin.alert_states.told_at is 'When it was told; null: it was not.';
comment on column tocsin.alert_states.reminded_at is 'When it was last told again.';
comment on column tocsin.alert_states.counted is 'Of slow: the executions that are counted, the last hundred.';
comment on column tocsin.alert_states.counted_from is 'Of slow: executions up to this one are counted no more.';

comment on table tocsin.alerts is
    'What was told of one job by one channel, or is about to be.';
comment on column tocsin.alerts.id is 'In the order of their time.';
comment on column tocsin.alerts.at is 'When the rule was found to hold.';
comment on column tocsin.alerts.rule_id is 'The rule, which may be gone; null: a test of a channel.';
comment on column tocsin.alerts.rule is 'Name of the rule then.';
comment on column tocsin.alerts.event is 'Which of its events.';
comment on column tocsin.alerts.job_id is 'Of which job; null: of no single one.';
comment on column tocsin.alerts.job is 'Name of the job then.';
comment on column tocsin.alerts.many is 'How many in a row.';
comment on column tocsin.alerts.since is 'End of the first of them.';
comment on column tocsin.alerts.execution_id is 'The latest of them.';
comment on column tocsin.alerts.why is 'What is told, as a sentence.';
comment on column tocsin.alerts.channel is 'Name of the channel; null: on record only.';
comment on column tocsin.alerts.delivery_id is 'The job that delivers it.';
comment on column tocsin.alerts.sent_at is 'When that job was made.';
comment on column tocsin.alerts.delivered_at is 'When the message had arrived; null: it has not.';
comment on column tocsin.alerts.failed_at is 'When its delivery was given up.';
comment on column tocsin.alerts.error is 'Why it was.';
comment on column tocsin.alerts.of_event is 'Of recovered: what is over; else the event.';
comment on column tocsin.alerts.is_reminder is 'Whether it was told before.';
comment on column tocsin.alerts.instead_of is 'The alert that another channel could not deliver.';
comment on column tocsin.alerts.incident is 'By which an incident that this opened is known where it was opened.';

comment on table tocsin.alert_cursor is
    'How far executions are judged by the rules, in one row; one instance at a time has it locked.';
comment on column tocsin.alert_cursor.one is 'Always true: there is one row.';
comment on column tocsin.alert_cursor.after_id is 'All executions up to this id are judged, but those in pending.';
comment on column tocsin.alert_cursor.pending is 'Those that were under way then.';
comment on column tocsin.alert_cursor.mark_id is 'What was drawn up to this id is over once all transactions before mark_xid are.';
comment on column tocsin.alert_cursor.mark_xid is 'Transaction id that goes with mark_id.';
comment on column tocsin.alert_cursor.marked_at is 'When the mark was set.';

comment on table tocsin.sets is
    'Sets of jobs, and of what belongs to jobs, that a file declares and tocsin apply writes.';
comment on column tocsin.sets.name is 'Name of the set, as the file has it.';
comment on column tocsin.sets.applied_at is 'When the file was last applied.';
comment on column tocsin.sets.applied_by is 'Who did so, as tocsin.actor() says.';
comment on column tocsin.sets.created_at is 'When it was first applied.';

comment on table tocsin.set_members is
    'What belongs to a set, each to one: a job by its id, all else by its name.';
comment on column tocsin.set_members.kind is 'job, calendar, flow, channel or rule.';
comment on column tocsin.set_members.name is 'Its name in the file.';
comment on column tocsin.set_members.set_name is 'The set that owns it.';
comment on column tocsin.set_members.job_id is 'Of a job, its id; null: it is no job.';
comment on column tocsin.set_members.applied is 'As the file had it, without secrets: what differs from it was changed elsewhere.';
comment on column tocsin.set_members.removed_at is 'Since when the file does not have it; null: it does.';

comment on table tocsin.idempotency_keys is
    'Answers to requests that came with an Idempotency-Key, kept for a day and written in the transaction of what they changed.';
comment on column tocsin.idempotency_keys.id is 'Digest of the client and its key.';
comment on column tocsin.idempotency_keys.request is 'Digest of what was asked.';
comment on column tocsin.idempotency_keys.owner is 'Whose limits it counts in: the prefix of an API key, or loopback; after "forms of " those of the dashboard''s forms.';
comment on column tocsin.idempotency_keys.at is 'When the request came.';
comment on column tocsin.idempotency_keys.status is 'Status of the answer; 0: it is yet to be written; -1: there is none, and any request may have the key.';
comment on column tocsin.idempotency_keys.headers is 'Headers of the answer.';
comment on column tocsin.idempotency_keys.answer is 'Body of the answer, compressed, and encrypted where it has a secret.';
comment on column tocsin.idempotency_keys.bytes is 'Length of what is stored.';

comment on column tocsin.upcoming.at is 'When it starts: next_run, or the end of the lease of what executes.';
comment on column tocsin.upcoming.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.upcoming.job_name is 'Its name; null: it has none.';
comment on column tocsin.upcoming.kind is 'Which executor carries it out: http, amqp and so on.';
comment on column tocsin.upcoming.tags is 'As tocsin.jobs has them.';
comment on column tocsin.upcoming.scheduled_for is 'The run, by its nominal instant.';
comment on column tocsin.upcoming.state is 'How the job stands, in one word: see tocsin.state.';
comment on column tocsin.upcoming.is_skipped is 'Whether the run will be dropped when its time comes.';
comment on column tocsin.upcoming.flow_key is 'Flow of the job; null: none.';
comment on column tocsin.upcoming.priority is '0, the usual one, to 3.';

comment on column tocsin.recent_executions.id is 'The execution.';
comment on column tocsin.recent_executions.job_id is 'Its job, which may be gone.';
comment on column tocsin.recent_executions.job_name is 'Name of the job now; null: it has none, or is gone.';
comment on column tocsin.recent_executions.kind is 'Kind of the job then.';
comment on column tocsin.recent_executions.scheduled_for is 'The run, by its nominal instant.';
comment on column tocsin.recent_executions.attempt is 'Ordinal, from 1, within the run; null: a missed run.';
comment on column tocsin.recent_executions.outcome is 'succeeded, failed, timed_out, cancelled, lost or missed.';
comment on column tocsin.recent_executions.reason is 'One stable word that says more.';
comment on column tocsin.recent_executions.started_at is 'When the request went out; null: none did.';
comment on column tocsin.recent_executions.finished_at is 'When it ended.';
comment on column tocsin.recent_executions.lag_seconds is 'Seconds from scheduled_for to started_at.';
comment on column tocsin.recent_executions.duration_seconds is 'Seconds from started_at to finished_at.';
comment on column tocsin.recent_executions.instance is 'Who carried it out: host:pid:xxxx.';
comment on column tocsin.recent_executions.status_code is 'Status of the answer by HTTP.';
comment on column tocsin.recent_executions.error is 'What went wrong, as a sentence.';

comment on column tocsin.failing_jobs.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.failing_jobs.job_name is 'Its name; null: it has none.';
comment on column tocsin.failing_jobs.kind is 'Which executor carries it out: http, amqp and so on.';
comment on column tocsin.failing_jobs.tags is 'As tocsin.jobs has them.';
comment on column tocsin.failing_jobs.state is 'How it stands, in one word: see tocsin.state.';
comment on column tocsin.failing_jobs.consecutive_failures is 'How many runs in a row did not succeed.';
comment on column tocsin.failing_jobs.last_outcome is 'How the last one ended.';
comment on column tocsin.failing_jobs.last_finished_at is 'When that was.';
comment on column tocsin.failing_jobs.next_run is 'When it goes on; null: it does not.';
comment on column tocsin.failing_jobs.plan_error is 'Why it cannot be planned or executed; null: it can.';

comment on column tocsin.overview.due is 'Jobs whose time has come, and that nobody has claimed; counted up to 10,000 of each sort.';
comment on column tocsin.overview.executing is 'Jobs under a lease.';
comment on column tocsin.overview.failing is 'Rows of tocsin.failing_jobs.';
comment on column tocsin.overview.paused is 'Jobs on pause, each by itself or by a tag.';
comment on column tocsin.overview.succeeded_last_hour is 'Executions that succeeded in the last hour.';
comment on column tocsin.overview.troubled_last_hour is 'Executions of the last hour that did not, missed runs included.';
comment on column tocsin.overview.next_run is 'When the next job comes due; null: none will.';

comment on column tocsin.dead_letters.id is 'The execution, the last of its run.';
comment on column tocsin.dead_letters.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.dead_letters.job_name is 'Name of the job; null: it has none.';
comment on column tocsin.dead_letters.tags is 'As tocsin.jobs has them.';
comment on column tocsin.dead_letters.kind is 'Kind of the job then.';
comment on column tocsin.dead_letters.scheduled_for is 'The run that was given up, by its nominal instant.';
comment on column tocsin.dead_letters.attempt is 'How often it was tried.';
comment on column tocsin.dead_letters.outcome is 'failed, timed_out or lost.';
comment on column tocsin.dead_letters.reason is 'One stable word that says more.';
comment on column tocsin.dead_letters.started_at is 'When the last request went out; null: none did.';
comment on column tocsin.dead_letters.finished_at is 'When the last attempt ended.';
comment on column tocsin.dead_letters.status_code is 'Status of the last answer by HTTP.';
comment on column tocsin.dead_letters.response is 'The beginning of that answer.';
comment on column tocsin.dead_letters.error is 'What went wrong, as a sentence.';

comment on sequence tocsin.executions_id_seq is 'Draws the ids of executions, at each claim.';
comment on sequence tocsin.audit_log_id_seq is 'Draws the numbers of entries, of creations before they are entered.';

-- The functions that constraints and defaults of db/schema.sql need.
comment on function tocsin.uuid7 is 'Makes an id of the time (RFC 9562, version 7): ids are in the order in which they were made.';
comment on function tocsin.actor is 'Who acts, for the audit log: the API key that the setting tocsin.actor names, or the database user. Of a role that may not write the log itself what it names is called a claim.';
comment on function tocsin.refuse(text, text, text) is 'Refuses a row of tocsin.jobs (23514), naming the column, what is wrong and what to write instead.';
comment on function tocsin.fits(jsonb, integer) is 'Whether a document has at most so many bytes as Postgres writes it out, which may be ten thousand times what is stored; found out without writing it.';
comment on function tocsin.fits_at_once(jsonb, integer) is 'As tocsin.fits, quicker for the many documents that are short.';
comment on function tocsin.whole(tocsin.jobs) is 'The job itself: indexes name a column of it so that an update need not compare that column.';
comment on function tocsin.is_deep(jsonb) is 'Whether a document has more than 100 levels.';
comment on function tocsin.refuse_unsound() is 'Refuses edits of a job that break a rule of tocsin.broken_rule, where its constraint does not judge the row.';
comment on function tocsin.is_loggable(tocsin.audit_log) is 'Whether an entry is of an action and an entity that there are, and within what the audit log holds at most.';
-- db/triggers/9_retention.sql: partitions, and what is removed after its time.

-- Housekeeping. Instances do it in steps, each of them a short transaction under a lock time-out of
-- milliseconds, so that no other session waits: see app/scheduler/upkeep.py. Functions for which only the owner of
-- the tables has the rights run with those rights, for the roles that are granted EXECUTE.

-- Lists the partitions of executions with the days that they hold, by their bounds and not by their names; the
-- default partition has neither start nor end. The settings are those under which the bounds can be parsed.
create or replace function tocsin.partitions()
returns table (partition text, starts_at timestamptz, ends_at timestamptz, is_default boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
begin
    return query
    select found.relname::text,
        case when found.bounds like '% FROM (MINVALUE)%' then '-infinity'
            else substring(found.bounds from 'FROM [(]''([^'']+)''[)]')::timestamptz end,
        case when found.bounds like '% TO (MAXVALUE)%' then 'infinity'
            else substring(found.bounds from 'TO [(]''([^'']+)''[)]')::timestamptz end,
        found.bounds = 'DEFAULT'
    from (
        select c.relname, pg_get_expr(c.relpartbound, c.oid) as bounds
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'tocsin.executions'::regclass
    ) as found
    order by 2, 1;
end $$;

-- Makes sure that a day (UTC) has its partition, into which rows of that day in the default partition are moved;
-- returns whether a partition was made. Attaching one locks and scans the default partition: none is made if that
-- has more than `most_bytes`, as writers of a day without a partition would have to wait.
create or replace function tocsin.add_partition(day date, most_bytes bigint default null)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD'
set lock_timeout = '50ms' as $$
declare
    partition constant text := 'executions_' || to_char(day, 'YYYYMMDD');
    lower_bound constant timestamptz := day::timestamp at time zone 'UTC';
    upper_bound constant timestamptz := (day + 1)::timestamp at time zone 'UTC';
begin
    if exists (select from tocsin.partitions() as p where p.starts_at <= lower_bound and p.ends_at >= upper_bound) then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtext('tocsin.executions'));
    if exists (select from tocsin.partitions() as p where p.starts_at <= lower_bound and p.ends_at >= upper_bound) then
        return false;
    end if;
    if to_regclass('tocsin.' || partition) is not null then
        raise exception using errcode = 'duplicate_table',
            message = format('tocsin.%s exists and is not the partition of that day', partition),
            hint = 'Rename or drop it, then: select tocsin.add_partitions();';
    end if;
    if pg_relation_size('tocsin.executions_default') > most_bytes then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('tocsin.executions_default holds %s, too much to take over while others write',
                pg_size_pretty(pg_relation_size('tocsin.executions_default'))),
            hint = 'In a quiet hour: select tocsin.add_partitions();';
    end if;
    execute format(
        'create table tocsin.%I (like tocsin.executions including defaults including constraints) using heap',
        partition);
    if exists (select from tocsin.executions_default
               where finished_at >= lower_bound and finished_at < upper_bound) then
        lock table tocsin.executions_default in access exclusive mode;
        execute format(
            'with moved as (delete from tocsin.executions_default
                            where finished_at >= $1 and finished_at < $2 returning *)
             insert into tocsin.%I select * from moved', partition)
            using lower_bound, upper_bound;
    end if;
    execute format(
        'alter table tocsin.executions attach partition tocsin.%I for values from (%L) to (%L)',
        partition, lower_bound, upper_bound);
    return true;
end $$;

-- Adds the partition of each day from today to `days` ahead; returns how many were added.
create or replace function tocsin.add_partitions(days integer default 7)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    added integer := 0;
begin
    for offset_days in 0..days loop
        added := added + tocsin.add_partition(
            (clock_timestamp() at time zone 'UTC')::date + offset_days)::integer;
    end loop;
    return added;
end $$;

-- Drops a partition of executions that ended before an instant at least a day ago. The partition and the default
-- one are locked first: a session that reads them is met before the whole table is locked, which has to be locked
-- as well, since Postgres cannot detach concurrently beside a default partition.
create or replace function tocsin.drop_partition(partition text, keep_from timestamptz)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    held text;
begin
    if not exists (
        select from tocsin.partitions() as p
        where p.partition = drop_partition.partition and p.partition ~ '^executions_[0-9]{8}$'
          and p.ends_at <= least(keep_from, clock_timestamp() - interval '1 day')) then
        return false;
    end if;
    for held in
        select p.partition from tocsin.partitions() as p
        where p.partition = drop_partition.partition or p.is_default
    loop
        execute format('lock table only tocsin.%I in access exclusive mode nowait', held);
    end loop;
    lock table only tocsin.executions in access exclusive mode;
    execute format('drop table tocsin.%I', partition);
    return true;
end $$;

-- Deletes executions that ended before `keep_from` from some pages of the default partition.
create or replace function tocsin.prune_default(
    first_page bigint, pages bigint, keep_from timestamptz
) returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    deleted bigint;
begin
    delete from tocsin.executions_default
    where ctid >= format('(%s,0)', first_page)::tid and ctid < format('(%s,0)', first_page + pages)::tid
      and finished_at < least(keep_from, clock_timestamp() - interval '1 day');
    get diagnostics deleted = row_count;
    return deleted;
end $$;

-- Deletes old entries of the audit log among the next `most` after an id; `last_id` is where to go
-- on, null at the end: the log is in the order of its ids.
create or replace function tocsin.prune_audit_log(
    after_id bigint, most bigint, keep_from timestamptz, out entries bigint, out last_id bigint
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    ended constant timestamptz := least(keep_from, clock_timestamp() - interval '1 day');
    oldest timestamptz;
begin
    select max(id), min(at) into last_id, oldest
    from (select id, at from tocsin.audit_log where id > after_id order by id limit most) as following;
    delete from tocsin.audit_log where id > after_id and id <= last_id and at < ended;
    get diagnostics entries = row_count;
    if oldest >= ended then
        last_id := null;
    end if;
end $$;

-- Deletes the one-off jobs that finished before `keep_from`, in some pages of the table. With a single page they are
-- deleted one by one, and those that a user's foreign key or trigger keeps are counted; with several pages such a
-- refusal is raised, and the caller asks for fewer pages.
create or replace function tocsin.prune_jobs(
    first_page bigint, pages bigint, keep_from timestamptz,
    out jobs bigint, out refused bigint, out refusal text
) language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    expired tid[];
    one tid;
begin
    jobs := 0;
    refused := 0;
    set constraints all immediate;  -- what is deferred would refuse at COMMIT
    expired := array(
        select ctid from tocsin.jobs
        where ctid >= format('(%s,0)', first_page)::tid and ctid < format('(%s,0)', first_page + pages)::tid
          and run_at is not null and next_run is null and planned_at is not null
          and plan_error is null and pending_runs = 0 and run_of is null and last_finished_at < keep_from
        for update skip locked);
    if pages > 1 then
        delete from tocsin.jobs where ctid = any (expired);
        get diagnostics jobs = row_count;
        return;
    end if;
    foreach one in array expired loop
        begin
            delete from tocsin.jobs where ctid = one;
            jobs := jobs + 1;
        exception
            when lock_not_available then
                raise;
            when others then
                refused := refused + 1;
                refusal := sqlerrm;
        end;
    end loop;
end $$;

-- Does all housekeeping at once, in one transaction, by hand: for few rows. `tocsin prune` does it in steps.
create or replace function tocsin.prune(
    retention_days numeric, out partitions integer, out jobs bigint
) language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    keep_from constant timestamptz := clock_timestamp() - retention_days * interval '1 day';
    pages constant bigint := 4294967295;
begin
    select count(*) filter (where tocsin.drop_partition(p.partition, keep_from)) into partitions
    from tocsin.partitions() as p where p.ends_at <= keep_from;
    perform tocsin.prune_default(0, pages, keep_from);
    perform tocsin.prune_audit_log(0, 9223372036854775807, keep_from);
    jobs := (select p.jobs from tocsin.prune_jobs(0, pages, keep_from) as p);
end $$;

revoke all on function tocsin.add_partition, tocsin.add_partitions, tocsin.drop_partition,
    tocsin.prune_default, tocsin.prune_audit_log, tocsin.prune_jobs, tocsin.prune from public;

-- Adds the partitions of a week, unless another session holds a lock just now; instances try again.
do $$ begin
    perform tocsin.add_partitions();
exception when lock_not_available then
    raise warning 'the partitions of the coming week could not be added: %', sqlerrm;
end $$;

comment on function tocsin.partitions() is
    'Lists the partitions of executions with the days that they hold, by their bounds and not by their names; the default partition has neither start nor end. The settings are those under which the bounds can be parsed.';
comment on function tocsin.add_partition(day date, most_bytes bigint) is
    'Makes sure that a day (UTC) has its partition, into which rows of that day in the default partition are moved; returns whether a partition was made. Attaching one locks and scans the default partition: none is made if that has more than `most_bytes`, as writers of a day without a partition would have to wait.';
comment on function tocsin.add_partitions(days integer) is
    'Adds the partition of each day from today to `days` ahead; returns how many were added.';
comment on function tocsin.drop_partition(partition text, keep_from timestamptz) is
    'Drops a partition of executions that ended before an instant at least a day ago. The partition and the default one are locked first: a session that reads them is met before the whole table is locked, which has to be locked as well, since Postgres cannot detach concurrently beside a default partition.';
comment on function tocsin.prune_default(first_page bigint, pages bigint, keep_from timestamptz) is
    'Deletes executions that ended before `keep_from` from some pages of the default partition.';
comment on function tocsin.prune_audit_log(after_id bigint, most bigint, keep_from timestamptz, out entries bigint, out last_id bigint) is
    'Deletes old entries of the audit log among the next `most` after an id; `last_id` is where to go on, null at the end: the log is in the order of its ids.';
comment on function tocsin.prune_jobs(first_page bigint, pages bigint, keep_from timestamptz, out jobs bigint, out refused bigint, out refusal text) is
    'Deletes the one-off jobs that finished before `keep_from`, in some pages of the table. With a single page they are deleted one by one, and those that a user''s foreign key or trigger keeps are counted; with several pages such a refusal is raised, and the caller asks for fewer pages.';
comment on function tocsin.prune(retention_days numeric, out partitions integer, out jobs bigint) is
    'Does all housekeeping at once, in one transaction, by hand: for few rows. `tocsin prune` does it in steps.';
