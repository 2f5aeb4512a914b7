-- db/triggers/6_audit.sql: the audit log.

-- The log has every change that a person or a program made, over the API or in SQL. Writes of instances are not in
-- it: their history is tocsin.executions. A bulk action has one entry, and its steps write none: see tocsin.in_bulk_step.

-- The functions below are called for each of thousands of rows that a statement deletes. They are therefore written
-- so that Postgres inlines them: an expression without a subquery, or a set that stands in FROM; and they are
-- stable, since an immutable function may not call format or jsonb_build_object.

-- Only those parts of a target are kept that its kind declares as shown, none of which can be secret: a short value
-- as a whole, one of a few texts, or the part of a URL before its path. A URL with an @ is left out, as a password
-- may end anywhere before the @. Of a kind that no instance has recorded, nothing is kept.
create or replace function tocsin.audited_targets(kind text, target jsonb)
returns setof jsonb language sql stable
begin atomic
    select coalesce(jsonb_object_agg(key, coalesce(
        case
            when origin ~ '^[a-z][a-z0-9+.-]*://([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?$'
                and rule -> 'origin' ? split_part(origin, ':', 1) then to_jsonb(origin)
            when jsonb_typeof(value) = 'string' and rule -> 'values' @> value then value
            when jsonb_typeof(value) in ('string', 'number', 'boolean') and rule -> 'whole' = 'true'
                and length(value #>> '{}') <= 200 then value
        end,
        to_jsonb('***'::text))), '{}')
    from (
        -- Cut out before the match: to match the rest of the target as well would take five times as long.
        select left(key, 200) as key, value, told.shown -> key as rule,
            case when told.shown -> key ? 'origin' and jsonb_typeof(value) = 'string'
                    and position('@' in value #>> '{}') = 0
                then left(value #>> '{}', position('://' in value #>> '{}') + 2)
                    || split_part(translate(substr(value #>> '{}', position('://' in value #>> '{}') + 3), '?#', '//'), '/', 1)
            end as origin
        from jsonb_each(target)
        left join tocsin.kinds told on told.kind = audited_targets.kind
        limit 100
    ) as kept;
end;

-- What the audit log keeps of one target, as tocsin.audited_targets has it; a query of its own, which is not inlined.
create or replace function tocsin.audited_target(kind text, target jsonb)
returns jsonb language sql stable
    return (select kept from tocsin.audited_targets(kind, target) as kept);

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
-- column is kept by decision only. `target`: the result of `audited_target`.
create or replace function tocsin.audited_columns(job tocsin.jobs, target jsonb)
returns jsonb language sql stable
    return jsonb_build_object(
        'name', job.name, 'description', tocsin.audited_text(job.description), 'tags', job.tags,
        'metadata', tocsin.audited_metadata(job.metadata), 'kind', job.kind, 'target', target,
        'run_at', job.run_at, 'cron', job.cron, 'timezone', job.timezone,
        'every_seconds', job.every_seconds, 'dst_gap', job.dst_gap, 'dst_overlap', job.dst_overlap,
        'starts_at', job.starts_at, 'ends_at', job.ends_at, 'max_runs', job.max_runs,
        'max_attempts', job.max_attempts, 'backoff_seconds', job.backoff_seconds,
        'backoff_max_seconds', job.backoff_max_seconds, 'timeout_seconds', job.timeout_seconds,
        'misfire', job.misfire, 'misfire_grace_seconds', job.misfire_grace_seconds,
        'max_catchup', job.max_catchup, 'overlap', job.overlap, 'paused_at', job.paused_at,
        'skip_runs', job.skip_runs, 'skip_until', job.skip_until, 'flow_key', job.flow_key,
        'resume_missed', job.resume_missed, 'jitter_seconds', job.jitter_seconds, 'jitter_percent', job.jitter_percent,
        'priority', job.priority,

        'calendars', job.calendars, 'on_closed', job.on_closed, 'min_gap_seconds', job.min_gap_seconds);

-- What the audit log keeps of a job, and what an edit may move as well.
create or replace function tocsin.audited_image(job tocsin.jobs, target jsonb)
returns jsonb language sql stable
    return tocsin.audited_columns(job, target)
        || jsonb_build_object('next_run', job.next_run, 'pending_runs', job.pending_runs);

-- What the audit log keeps of a job, its target included.
create or replace function tocsin.audited(job tocsin.jobs)
returns jsonb language sql stable
    return tocsin.audited_image(job, tocsin.audited_target(job.kind, job.target));

-- The columns of tocsin.audited, in order, that an edit left alone, but for the target. What is equal and written
-- another way, as 5 and 5.0 are, was changed. Written out, as to compare two documents takes a query. No rows of one
-- column are compared: pg_dump writes these so that they mean something else, and the dump could not be restored.
create or replace function tocsin.audited_unchanged(was tocsin.jobs, is_now tocsin.jobs)
returns text[] language sql stable
    return array_remove(array[
        case when was.backoff_max_seconds is not distinct from is_now.backoff_max_seconds
            and scale(was.backoff_max_seconds) is not distinct from scale(is_now.backoff_max_seconds) then 'backoff_max_seconds' end,
        case when was.backoff_seconds is not distinct from is_now.backoff_seconds
            and scale(was.backoff_seconds) is not distinct from scale(is_now.backoff_seconds) then 'backoff_seconds' end,
        case when was.calendars is not distinct from is_now.calendars then 'calendars' end,
        case when was.cron is not distinct from is_now.cron then 'cron' end,
        case when was.description is not distinct from is_now.description then 'description' end,
        case when was.dst_gap is not distinct from is_now.dst_gap then 'dst_gap' end,
        case when was.dst_overlap is not distinct from is_now.dst_overlap then 'dst_overlap' end,
        case when was.ends_at is not distinct from is_now.ends_at then 'ends_at' end,
        case when was.every_seconds is not distinct from is_now.every_seconds
            and scale(was.every_seconds) is not distinct from scale(is_now.every_seconds) then 'every_seconds' end,
        case when was.flow_key is not distinct from is_now.flow_key then 'flow_key' end,
        case when was.jitter_percent is not distinct from is_now.jitter_percent
            and scale(was.jitter_percent) is not distinct from scale(is_now.jitter_percent) then 'jitter_percent' end,
        case when was.jitter_seconds is not distinct from is_now.jitter_seconds
            and scale(was.jitter_seconds) is not distinct from scale(is_now.jitter_seconds) then 'jitter_seconds' end,
        case when was.kind is not distinct from is_now.kind then 'kind' end,
        case when was.max_attempts is not distinct from is_now.max_attempts then 'max_attempts' end,
        case when was.max_catchup is not distinct from is_now.max_catchup then 'max_catchup' end,
        case when was.max_runs is not distinct from is_now.max_runs then 'max_runs' end,
        case when was.metadata::text = is_now.metadata::text then 'metadata' end,
        case when was.min_gap_seconds is not distinct from is_now.min_gap_seconds
            and scale(was.min_gap_seconds) is not distinct from scale(is_now.min_gap_seconds) then 'min_gap_seconds' end,
        case when was.misfire is not distinct from is_now.misfire then 'misfire' end,
        case when was.misfire_grace_seconds is not distinct from is_now.misfire_grace_seconds
            and scale(was.misfire_grace_seconds) is not distinct from scale(is_now.misfire_grace_seconds) then 'misfire_grace_seconds' end,
        case when was.name is not distinct from is_now.name then 'name' end,
        case when was.next_run is not distinct from is_now.next_run then 'next_run' end,
        case when was.on_closed is not distinct from is_now.on_closed then 'on_closed' end,
        case when was.overlap is not distinct from is_now.overlap then 'overlap' end,
        case when was.paused_at is not distinct from is_now.paused_at then 'paused_at' end,
        case when was.pending_runs is not distinct from is_now.pending_runs then 'pending_runs' end,
        case when was.priority is not distinct from is_now.priority then 'priority' end,
        case when was.resume_missed is not distinct from is_now.resume_missed then 'resume_missed' end,
        case when was.run_at is not distinct from is_now.run_at then 'run_at' end,
        case when was.skip_runs is not distinct from is_now.skip_runs then 'skip_runs' end,
        case when was.skip_until is not distinct from is_now.skip_until then 'skip_until' end,
        case when was.starts_at is not distinct from is_now.starts_at then 'starts_at' end,
        case when was.tags is not distinct from is_now.tags then 'tags' end,
        case when was.timeout_seconds is not distinct from is_now.timeout_seconds
            and scale(was.timeout_seconds) is not distinct from scale(is_now.timeout_seconds) then 'timeout_seconds' end,
        case when was.timezone is not distinct from is_now.timezone then 'timezone' end], null);

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
-- settlements too. So every step here is an expression, but for one where the target changed, and for each entry.
create or replace function tocsin.audit_changed_job()
returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    same text[];
    parts text[];
    was jsonb;
    is_now jsonb;
begin
    if new.run_of is not null then
        return null;  -- its job has the entry, with the request
    end if;
    if old.creation is not null and new.creation is null then
        insert into tocsin.audit_log (
            id, at, actor, db_user, program, action, entity, entity_id, entity_name, after)
        overriding system value
        values (old.creation, old.created_at, old.created_by, old.created_as, old.created_with,
            'create', 'job', old.id, old.name, tocsin.created_image(old));
    end if;
    if tocsin.in_bulk_step() then
        return null;
    end if;
    same := tocsin.audited_unchanged(old, new);
    if row(old.target)::record *= row(new.target)::record then
        same := same || 'target'::text;
        was := tocsin.audited_image(old, null) - same;
        is_now := tocsin.audited_image(new, null) - same;
    else
        parts := array(
            select 'target.' || left(key, 200)
            from jsonb_each(old.target) full join jsonb_each(new.target) as other using (key)
            where row(jsonb_each.value)::record *<> row(other.value)::record order by key);
        was := tocsin.audited(old) - same;
        is_now := tocsin.audited(new) - same;
    end if;
    if was = '{}' then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values ('update', 'job', new.id, new.name,
        (array(select key from jsonb_object_keys(was) as key where key <> 'target' order by key) || parts)[1:100],
        was, is_now);
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
