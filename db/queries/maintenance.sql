-- Windows of maintenance: see db/triggers/7_maintenance.sql. acting: see jobs.sql.

-- name: spans
-- The time of all windows from a year ago to eight days ahead, the first of it; more is asked for within minutes.
with total as (
    select tocsin.maintenance_times(array_agg(distinct tag), null, now() - interval '366 days', now() + interval '8 days') as times
    from tocsin.maintenance)
select array_agg(lower(t) order by t) as starts, array_agg(upper(t) order by t) as ends
from total, lateral (select t from unnest(total.times) as t order by t limit 10001) as t;

-- name: concerned, reads
-- Those of some jobs that windows concern by their tags, whenever these have time. None concerns what delivers an alert.
select j.id
from tocsin.jobs j
where j.id = any (:job_ids::uuid[])
  and exists (select from tocsin.maintenance w where w.tag is null or w.tag = any (j.tags))
  and not exists (select from tocsin.alerts a where a.delivery_id = j.id);

-- name: closing
-- What the windows make of a run that is due at an instant, and the time until another one in which runs are missed.
-- closed_until: until when they are, or when the job is open again, as on_closed has it.
select w.id as window_id, w.on_closed, w.reason, case w.on_closed
        when 'skip' then (
            select least(upper(t), '2200-01-01 00:00Z')
            from unnest(tocsin.maintenance_times(j.tags, 'skip', :at::timestamptz, :at::timestamptz + interval '366 days')) as t
            where t @> :at::timestamptz)
        when 'next_open' then least(tocsin.maintained_until(j.calendars, j.tags, :at::timestamptz), '2200-01-01 00:00Z')
        end as closed_until,
    missed.starts, missed.ends
from tocsin.jobs j
left join lateral tocsin.maintenance_at(j.tags, :at::timestamptz) as w on true
cross join lateral (
    select array_agg(lower(t) order by t) as starts, array_agg(upper(t) order by t) as ends
    from unnest(tocsin.maintenance_times(j.tags, 'skip', :since::timestamptz,
        greatest(:until::timestamptz, :since::timestamptz) + interval '1 microsecond')) as t) as missed
where j.id = :job_id::uuid;

-- name: note_put_off
select tocsin.note_put_off(:job_id::uuid, :window_id::uuid, :until::timestamptz);

-- name: replan
select tocsin.replan_maintained(:many::bigint) as seen;

-- name: begin
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select w.* from acting, tocsin.maintain(
    case when acting.actor is not null then :tag::text end, :ends_at::timestamptz, :starts_at::timestamptz, :calendar::text,
    :on_closed::text, :reason::text) as w;

-- name: end
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select tocsin.end_maintenance(case when acting.actor is not null then :id::uuid end) as ended from acting;

-- part: shown
w.id, w.tag, w.calendar, w.starts_at, w.ends_at, w.on_closed, w.reason, w.created_at, w.created_by,
    tocsin.window_times(w) @> now() as is_under_way,
    lower(near.time) as next_start, case when near.time is not null then least(upper(near.time), '2200-01-01 00:00Z') end as next_end

-- part: near
left join lateral (
    select t as time from unnest(tocsin.window_times(w)) as t where upper(t) > now() order by t limit 1) as near on true

-- name: list_all, reads
select {shown}
from tocsin.maintenance w
{near}
order by near.time nulls last, w.id;

-- name: under_way, reads
-- Those under way that concern all jobs, or one with these tags; null: all of them.
select {shown}
from tocsin.maintenance w
{near}
where tocsin.window_times(w) @> now() and (:tags::text[] is null or w.tag is null or w.tag = any (:tags::text[]))
order by w.tag nulls first, w.id;
