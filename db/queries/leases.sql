-- The leases of one instance: those that it extends, and those that it holds by name only.

-- name: extend
-- Moves the leases of executions under way forward and tells of each whether it did. A row that
-- another transaction has locked is neither extended nor lost and is tried again; one whose fence has moved
-- on, that was claimed at another instant, or that is gone, is no longer ours. Nor is the lease of a job of a flow
-- that has run out: another job may have its permit. locked_until is asked for as in claims.settle.
with wanted as (
    select * from unnest(:ids::uuid[], :fences::bigint[], :claimed_ats::timestamptz[])
        as w (id, fence, claimed_at)
), held as materialized (
    select j.id from tocsin.jobs j join wanted w on j.id = w.id
    where j.fence = w.fence and j.claimed_at = w.claimed_at and coalesce(j.locked_until, '-infinity') <> '-infinity'
      and (j.flow_key is null or j.locked_until > clock_timestamp())
    for no key update of j skip locked
), extended as (
    update tocsin.jobs j
    set locked_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
    from held where j.id = held.id
    returning j.id
)
select w.id, e.id is not null as extended,
    e.id is null and not exists (
        select from tocsin.jobs j
        where j.id = w.id and j.fence = w.fence and j.claimed_at = w.claimed_at
          and coalesce(j.locked_until, '-infinity') <> '-infinity'
          and (j.flow_key is null or j.locked_until > clock_timestamp())) as lost
from wanted w left join extended e on e.id = w.id;

-- name: orphans
-- The leases that this instance holds by name only: claimed by a look whose answer was lost with its
-- connection. All leases in force are in this range of jobs_claimable; the second more is for those that
-- were claimed ahead of their instant. aside, only: as those of the look.
select id as job_id, execution_id
from (
    select id, execution_id from tocsin.jobs
    where tocsin.is_claimable(jobs)
      and greatest(next_run, locked_until) between now() and now() + (:lease_seconds::float8 + 1) * interval '1 second'
      and locked_by = :instance::text
    union all
    select id, execution_id from tocsin.jobs
    where tocsin.is_flow_claimable(jobs)
      and greatest(next_run, locked_until) between now() and now() + (:lease_seconds::float8 + 1) * interval '1 second'
      and locked_by = :instance::text
) as leased
where execution_id <> all (:executing::bigint[])
  and not (id = any(:aside::uuid[])) and (:only::uuid[] is null or id = any(:only::uuid[]));

-- name: free_orphans
-- Frees some of these leases.
update tocsin.jobs j
set locked_until = null, locked_by = null,
    claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null,
    attempt = greatest(attempt - 1, 0),
    next_run = j.next_run  -- so that tocsin.follow_runs is called
from unnest(:job_ids::uuid[], :execution_ids::bigint[]) as orphan (job_id, execution_id)
where j.id = orphan.job_id and j.execution_id = orphan.execution_id
  and j.locked_by = :instance::text and j.locked_until is not null
returning j.id as job_id;
