-- Pauses: see db/triggers/8_pauses.sql.

-- name: hold_claimed
select held as id from tocsin.hold_claimed(:ids::uuid[]) as held;

-- name: seconds_to_end, reads
select extract(epoch from min(ends_at) - least(now(), :believed::timestamptz))::float8 as seconds
from tocsin.pauses where ends_at is not null;

-- name: end_over
with acting as materialized (select set_config('tocsin.actor', 'the end of the pause', true) as actor)
select tocsin.end_pauses(case when acting.actor is not null then least(now(), :believed::timestamptz) end) as ended
from acting;

-- name: pause_job
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select paused.id
from acting, tocsin.pause(
    case when acting.actor is not null then :job_id::uuid end, :reason::text, :until::timestamptz) as paused;

-- name: pause_unchanged
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor),
locked as materialized (
    select j.id from tocsin.jobs j where j.id = :job_id::uuid and j.updated_at = :since::timestamptz for update)
select paused.id
from acting, locked,
    tocsin.pause(case when acting.actor is not null then locked.id end, :reason::text, null::timestamptz) as paused;

-- name: openings, reads
-- The time between two instants in which runs of a job may be carried out, and to its end that for which runs wait; of each
-- the latest spans. No row: it is never closed, as far as is known.
select open_times.starts, open_times.ends, waiting_times.starts as waiting_starts, waiting_times.ends as waiting_ends
from (
    select tstzmultirange(tstzrange(:since::timestamptz, :until::timestamptz + interval '1 microsecond')) as asked,
        coalesce(tocsin.open_times(j.calendars), '{(,)}') as open, j.on_closed = 'next_open' as waits,
        tocsin.maintenance_times(j.tags, 'skip', :since::timestamptz, :until::timestamptz + interval '1 microsecond') as missed,
        tocsin.maintenance_times(j.tags, 'next_open', :since::timestamptz, :until::timestamptz + interval '366 days') as put_off
    from tocsin.jobs j
    where j.id = :job_id::uuid and (j.calendars is not null or exists (select from tocsin.maintenance))
) as told
cross join lateral (
    select array_agg(lower(one.part) order by one.part) as starts, array_agg(upper(one.part) order by one.part) as ends
    from (
        select part from unnest(asked * open - missed - put_off) with ordinality as one (part, place)
        order by place desc limit 10000) as one
) as open_times
cross join lateral (
    select array_agg(coalesce(lower(one.part), :since::timestamptz) order by one.part) as starts,
        array_agg(upper(one.part) order by one.part) as ends
    from (
        select part
        from unnest(put_off * open + case when waits then tstzmultirange(tstzrange(null, upper(open))) - open else '{}' end
            - missed) with ordinality as one (part, place)
        where multirange(part) && asked
        order by place desc limit 10000) as one
) as waiting_times;

-- name: resume_job
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select resumed.id
from acting, tocsin.resume(case when acting.actor is not null then :job_id::uuid end, :missed::text) as resumed;

-- name: pause_tag
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select paused.id
from acting, tocsin.pause_tag(case when acting.actor is not null then :tag::text end, :reason::text, :until::timestamptz) as paused;

-- name: pause_all
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select paused.id
from acting, tocsin.pause_all(case when acting.actor is not null then :reason::text end, :until::timestamptz) as paused;

-- name: end
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select tocsin.end_pause(case when acting.actor is not null then :id::uuid end, :missed::text) as jobs
from acting;

-- name: list_all, reads
select id, tag, reason, until, paused_at, paused_by from tocsin.pauses
where scope < 2 order by scope, paused_at limit :limit::bigint;

-- name: count_jobs, reads
select count(*) as jobs
from (
    select from tocsin.pauses p
    join tocsin.pauses h on h.held_by = p.id
    join tocsin.jobs j on j.id = h.job_id and j.next_run <= now()
    where p.id = :id::uuid
    union all
    select from tocsin.pauses p
    join tocsin.jobs j on tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
    where p.id = :id::uuid and p.scope = 0
    limit 100000
) as held_up;

-- name: count_waiting, reads
-- tag: null: of all jobs.
select count(*) as jobs
from (
    select from tocsin.jobs j
    where :tag::text is not null and j.tags @> array[:tag::text] and j.tags <> '{}'
      and j.paused_at is null and j.run_of is null and j.next_run is not null
    union all (
        select from tocsin.jobs j
        where :tag::text is null and j.paused_at is null and j.run_of is null and j.next_run is not null
        limit 100000)
    limit 100000
) as waiting;

-- name: pausing_tag, reads
select p.tag from tocsin.jobs j join tocsin.pauses p on p.tag = any (j.tags) where j.id = :job_id::uuid limit 1;
