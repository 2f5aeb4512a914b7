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
