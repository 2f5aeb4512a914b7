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
