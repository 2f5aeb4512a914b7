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
