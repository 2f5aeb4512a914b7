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
