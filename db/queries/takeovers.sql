-- Runs whose holders died.

-- name: attempts, reads
-- The attempts of a run before one, of the latest executions of the job, and when calendars of the job or windows that
-- concern it were last changed; of those that concern it no more, if it was in the ten minutes before the first attempt, or
-- later. That is searched for in the audit log, and only where a window may have kept the run away that cancels this one.
select e.lost, e.others, e.first_start_at, greatest(c.changed_at, w.changed_at, case when j.overlap = 'cancel_other'
    then tocsin.windows_changed_at(j.tags, e.first_start_at - interval '10 minutes') end) as judges_changed_at
from (
    select count(*) filter (where outcome = 'lost') as lost, count(*) filter (where outcome <> 'lost') as others,
        min(started_at) as first_start_at
    from (
        select scheduled_for, attempt, outcome, started_at from tocsin.executions
        where job_id = :job_id::uuid and id < :execution_id::bigint
        order by id desc limit 200) as latest
    where scheduled_for = :scheduled_for::timestamptz and attempt is not null) as e
cross join (
    select tags, calendars, overlap from tocsin.jobs where id = :job_id::uuid) as j
cross join lateral (
    select max(greatest(updated_at, worked_out_at)) as changed_at from tocsin.calendars
    where name in (select ltrim(one, '!') from unnest(j.calendars) as one)) as c
cross join lateral (
    select max(greatest(w.updated_at, c.updated_at, c.worked_out_at)) as changed_at
    from tocsin.maintenance w left join tocsin.calendars c on c.name = w.calendar
    where w.tag is null or w.tag = any (j.tags)) as w;
