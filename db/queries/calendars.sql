-- Named calendars. acting: see jobs.sql.

-- part: shown
c.name, c.description, c.timezone, c.dates, c.weekly, c.holidays, c.rrules, c.ical, c.error,
    c.worked_out_at is not null as is_worked_out, c.created_at, c.updated_at,
    (select count(*) from (select from tocsin.job_calendars u where u.calendar = c.name limit 10000) as u) as jobs,
    (select array_agg(lower(t)) from (
        select t from unnest(c.times * tstzmultirange(tstzrange(now(), null))) as t limit 10) as t) as starts,
    (select array_agg(upper(t)) from (
        select t from unnest(c.times * tstzmultirange(tstzrange(now(), null))) as t limit 10) as t) as ends

-- name: put
-- times: the spans of time as Postgres writes a multirange. What is changed by others meanwhile is worked out by them.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.calendars as c (name, description, timezone, dates, weekly, holidays, rrules, ical)
select :name::text, :description::text, :timezone::text, :dates::text[], :weekly::text[], :holidays::text[], :rrules::text[], :ical::text
from acting
on conflict (name) do update
set description = excluded.description, timezone = excluded.timezone, dates = excluded.dates, weekly = excluded.weekly,
    holidays = excluded.holidays, rrules = excluded.rrules, ical = excluded.ical
returning name, updated_at, xmax = 0 as is_new;

-- name: work_out
-- Writes what was worked out of a calendar, unless that was changed meanwhile.
update tocsin.calendars c
set times = coalesce(:times::text::tstzmultirange, c.times), error = left(:error::text, 10000), worked_out_at = clock_timestamp()
where c.name = :name::text and c.updated_at = :updated_at::timestamptz
returning c.name;

-- name: page
select {shown}
from tocsin.calendars c
where :after::text is null or c.name > :after::text collate "C"
order by c.name
limit :limit::bigint;

-- name: find
select {shown} from tocsin.calendars c where c.name = :name::text;

-- name: delete
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
delete from tocsin.calendars c using acting where c.name = :name::text
returning c.name;

-- name: closing
-- How some calendars stand at an instant, with their time from then to another one.
with calendars as materialized (select tocsin.open_times(:calendars::text[]) as open)
select tocsin.calendars_problem(:calendars::text[]) as problem, c.open is null as unready,
    case when not c.open @> :at::timestamptz then least(
        lower(c.open * tstzmultirange(tstzrange(:at::timestamptz, null))), '2200-01-01 00:00Z') end as closed_until,
    least(upper(c.open), '2200-01-01 00:00Z') as ends_at, near.starts, near.ends
from calendars c
cross join lateral (
    select array_agg(lower(t) order by t) as starts, array_agg(upper(t) order by t) as ends
    from unnest(c.open * tstzmultirange(tstzrange(:at::timestamptz, greatest(:until::timestamptz, :at::timestamptz), '[]'))) as t) as near;

-- name: open_spans
-- The open time of some calendars from an instant on, the first of it; null: one of them is gone or not worked out.
select array_agg(lower(t) order by t) as starts, array_agg(coalesce(upper(t), '2200-01-01 00:00Z') order by t) as ends
from (
    select t from unnest(tocsin.open_times(:calendars::text[]) * tstzmultirange(tstzrange(:since::timestamptz, null))) as t
    limit 10001) as t;

-- name: to_work_out
-- Calendars that were written in SQL, and those whose times end in less than four years and a half.
select c.name, c.updated_at, c.timezone, c.dates, c.weekly, c.holidays, c.rrules, c.ical, clock_timestamp() as now
from tocsin.calendars c
where c.worked_out_at is null or (c.error is null and c.worked_out_at < clock_timestamp() - interval '180 days')
order by c.name
limit 10;

-- name: step
-- The next jobs that use a calendar whose times have changed, with those that wait for other times, and marks them as
-- seen. Of several instances one takes a step, as the row of the calendar is locked.
with calendar as materialized (
    select name, replan_after from tocsin.calendars
    where replan_after is not null and worked_out_at is not null
    order by name limit 1
    for no key update skip locked
), users as materialized (
    select u.job_id from calendar c
    cross join lateral (
        select job_id from tocsin.job_calendars u
        where u.calendar = c.name and u.job_id > c.replan_after order by u.job_id limit :many::bigint) as u
), marked as (
    update tocsin.calendars c set replan_after = (select job_id from users order by job_id desc limit 1)
    from calendar where c.name = calendar.name
    returning c.name
), free as materialized (
    select j.id from tocsin.jobs j join users u on u.job_id = j.id
    where j.locked_until is null and (
        (j.attempt = 0 and j.next_run > j.scheduled_for and j.on_closed = 'next_open')
        or j.plan_error like 'calendars: %')
    for no key update of j skip locked
), moved as (
    update tocsin.jobs j
    set next_run = case when j.plan_error is not null then j.next_run
            else case tocsin.closed_until(j.calendars, j.scheduled_for) when 'infinity' then j.next_run
                else coalesce(tocsin.closed_until(j.calendars, j.scheduled_for), clock_timestamp()) end end,
        plan_error = null,
        planned_at = case when j.plan_error is null or j.next_run is not null then clock_timestamp() end
    from free where j.id = free.id
    returning j.id
)
select (select name from marked) as calendar, (select count(*) from users) as seen, (select count(*) from moved) as moved;

-- name: closed_among
-- Of runs of jobs: until when the calendars, or a window of maintenance, close each; without those that are open.
select w.job_id, w.at, least(closed.until, '2200-01-01 00:00Z') as closed_until
from (select exists (select from tocsin.maintenance) as some) as windows
cross join unnest(:job_ids::uuid[], :ats::timestamptz[]) as w (job_id, at)
join tocsin.jobs j on j.id = w.job_id and (j.calendars is not null or windows.some)
cross join lateral (
    select case when windows.some and (tocsin.maintenance_of(j, w.at)).id is not null
        then tocsin.maintained_until(j.calendars, j.tags, w.at) else tocsin.closed_until(j.calendars, w.at) end as until) as closed
where closed.until is not null;

-- name: closed_at
-- Until when some calendars are closed at each instant; problem: why that cannot be said.
select w.at, tocsin.calendars_problem(:calendars::text[]) as problem,
    case when tocsin.closed_until(:calendars::text[], w.at) is not null
        then least(tocsin.closed_until(:calendars::text[], w.at), '2200-01-01 00:00Z') end as closed_until
from unnest(:ats::timestamptz[]) as w (at);
