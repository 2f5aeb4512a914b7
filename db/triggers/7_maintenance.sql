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
