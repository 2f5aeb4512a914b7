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
