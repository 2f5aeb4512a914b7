-- Sets and what belongs to them. acting: see jobs.sql.

-- part: state
select s.name, s.applied_at, s.applied_by, s.created_at,
    count(m.name) filter (where m.kind = 'job' and m.removed_at is null) as jobs,
    count(m.name) filter (where m.kind <> 'job' and m.removed_at is null) as others,
    count(m.name) filter (where m.removed_at is not null) as removed
from tocsin.sets s left join tocsin.set_members m on m.set_name = s.name

-- name: lock
-- One application at a time: two that take over the same job would wait for each other.
select pg_advisory_xact_lock(hashtext('tocsin.sets'));

-- name: members
-- What belongs to a set, and to which sets these belong.
select m.kind, m.name, m.set_name, m.job_id, m.applied::text as applied, m.removed_at
from tocsin.set_members m
where m.set_name = :set_name::text
   or (m.kind, m.name) in (select * from unnest(:kinds::text[], :names::text[]))
order by m.kind, m.name;

-- name: owners
-- To which sets jobs belong, by their ids.
select m.kind, m.name, m.set_name, m.job_id, m.applied::text as applied, m.removed_at
from tocsin.set_members m
where m.job_id = any(:job_ids::uuid[]);

-- name: of_job, reads
select tocsin.set_of(:job_id::uuid) as set_name;

-- name: existing
select 'calendar' as kind, c.name from tocsin.calendars c where c.name = any(:calendars::text[])
union all
select 'channel', h.name from tocsin.alert_channels h where h.name = any(:channels::text[])
union all
select 'job', j.name from tocsin.jobs j where j.name = any(:jobs::text[]) and j.run_of is null;

-- name: put
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.sets as s (name)
select :name::text from acting
on conflict (name) do update set applied_at = clock_timestamp(), applied_by = tocsin.actor()
returning name;

-- name: leave
-- Forget members: of this set those that were deleted, of other sets those that were taken over, and by their old
-- names the jobs that are written anew.
delete from tocsin.set_members m
where (m.kind, m.name) in (select * from unnest(:kinds::text[], :names::text[])) or m.job_id = any(:job_ids::uuid[]);

-- name: put_members
insert into tocsin.set_members as m (kind, name, set_name, job_id, applied)
select w.kind, w.name, :set_name::text, w.job_id, w.applied
from json_to_recordset(:members::json) as w (kind text, name text, job_id uuid, applied jsonb)
on conflict (kind, name) do update
set set_name = excluded.set_name, job_id = excluded.job_id, applied = excluded.applied, removed_at = null
where (m.set_name, m.job_id, m.applied, m.removed_at) is distinct from
    (excluded.set_name, excluded.job_id, excluded.applied, null::timestamptz);

-- name: mark_removed
update tocsin.set_members m set removed_at = clock_timestamp()
where m.removed_at is null and (m.kind, m.name) in (select * from unnest(:kinds::text[], :names::text[]));

-- name: page, reads
{state}
where :after::text is null or s.name > :after::text collate "C"
group by s.name
order by s.name
limit :limit::bigint;

-- name: find, reads
{state}
where s.name = :name::text
group by s.name;

-- name: members_of, reads
select m.kind, m.name, m.removed_at from tocsin.set_members m where m.set_name = :name::text order by m.kind, m.name;

-- name: delete
delete from tocsin.sets where name = :name::text returning name;
