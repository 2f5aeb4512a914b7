-- Jobs that no statement can work with, alone or among others: how they are found and put aside.

-- name: due
-- What a look finds due, in its order, but nothing of it that could not be read.
select id as job_id, greatest(next_run, locked_until)::text as due_at, now() as now
from tocsin.jobs
where tocsin.is_claimable(jobs)
  and greatest(next_run, locked_until) >= least(coalesce(:since::timestamptz, '-infinity'), least(now(), :believed::timestamptz))
  and greatest(next_run, locked_until) <= least(now(), :believed::timestamptz) + :ahead_seconds::float8 * interval '1 second'
  and coalesce(locked_until, '-infinity') <= least(now(), :believed::timestamptz)
  and kind = any(:kinds::text[])
  and not (id = any(:aside::uuid[]))
order by greatest(next_run, locked_until)
limit :limit::bigint;

-- name: due_raised
-- What of it is of a raised priority, in the order of a look by priority.
select id as job_id, greatest(next_run, locked_until)::text as due_at, now() as now
from tocsin.jobs
where tocsin.is_claimable(jobs) and priority > 0
  and greatest(next_run, locked_until) <= least(now(), :believed::timestamptz)
  and coalesce(locked_until, '-infinity') <= least(now(), :believed::timestamptz)
  and kind = any(:kinds::text[])
  and not (id = any(:aside::uuid[]))
order by tocsin.rank(greatest(next_run, locked_until), priority)
limit :limit::bigint;

-- name: due_behind
-- What is due, latest first: since one instant and until another, in front of the one with this id that
-- is due at before_at, and written since the transaction newer; each of these may be null.
select id as job_id, greatest(next_run, locked_until)::text as due_at, now() as now
from tocsin.jobs
where tocsin.is_claimable(jobs)
  and greatest(next_run, locked_until) >= coalesce(:since::timestamptz, '-infinity')
  and greatest(next_run, locked_until) <= least(now(), :until::timestamptz)
  and greatest(next_run, locked_until) <= coalesce(:before_at::text::timestamptz, 'infinity')
  and (:before::uuid is null or (greatest(next_run, locked_until), id) < (:before_at::text::timestamptz, :before::uuid))
  and kind = any(:kinds::text[])
  and not (id = any(:aside::uuid[]))
  and (:newer::text is null or age(xmin) <= age(:newer::text::xid8::xid))
order by greatest(next_run, locked_until) desc, id desc
limit :limit::bigint;

-- name: due_of_others, reads
-- What is due for other hosts than these, among the latest :window of all that is due. The host is that of
-- app/targets/hosts.py. What is long is passed over, as all of it would have to be read for its URL. Nearly all is for
-- the hosts that are left out: that is seen by how a URL begins, in a third of the time. deferring: whether something
-- of users may have to be done at the end of the transaction that claims them.
select id as job_id, due_at::text as due_at, now() as now, (
    select exists (
        select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid in (select 'tocsin.jobs'::regclass union all select relid from pg_partition_tree('tocsin.executions'))
          and (t.tgdeferrable or not t.tgisinternal and p.pronamespace <> 'tocsin'::regnamespace))
      or exists (select from pg_rules where schemaname = 'tocsin' and tablename in ('jobs', 'executions'))
    ) as deferring
from (
    select id, kind, locked_until, greatest(next_run, locked_until) as due_at,
        case when pg_column_size(target) < 2000 and pg_column_compression(target) is null
                and not (target ->> 'url' ^@ any((select array_agg(scheme || crowd || '/')
                    from unnest(:crowds::text[]) as crowd, unnest('{http://,https://}'::text[]) as scheme)::text[]))
            then substring(target ->> 'url' from '^[^/?#]*//(?:[^/?#]*@)?([^/?#]*)') end as host
    from tocsin.jobs
    where tocsin.is_claimable(jobs)
      and greatest(next_run, locked_until) >= coalesce(:since::timestamptz, '-infinity')
      and greatest(next_run, locked_until) <= least(now(), :until::timestamptz)
    order by greatest(next_run, locked_until) desc
    limit :window::bigint
) as latest
where host <> all(:crowds::text[])
  and coalesce(locked_until, '-infinity') <= now()
  and kind = any(:kinds::text[])
  and not (id = any(:aside::uuid[]))
order by latest.due_at
limit :limit::bigint;

-- name: due_among, reads
-- Which of these jobs wait to be claimed, and since when.
select id as job_id, greatest(next_run, locked_until)::text as due_at, now() as now
from tocsin.jobs
where id = any(:ids::uuid[])
  and tocsin.is_claimable(jobs)
  and greatest(next_run, locked_until) <= now() and kind = any(:kinds::text[])
order by greatest(next_run, locked_until), id;

-- name: horizon, reads
-- The oldest transaction that may still write; what is visible now was written by older ones.
select pg_snapshot_xmin(pg_current_snapshot())::text as horizon;

-- name: put_aside
-- Keeps jobs that no statement can work with out of the looks until a person corrects them, and ends
-- the claim under which such a job was met. fence: of that claim; null: the job was met under none, and
-- is left alone if an instance has claimed it since. planned_at moves, so that no trigger takes this
-- for a person's edit, and validates the row.
update tocsin.jobs j
set plan_error = w.problem, planned_at = clock_timestamp(), validated = true,
    attempt = least(greatest(j.attempt, 0), 1000000), fence = least(j.fence, 4611686018427387903),
    locked_until = null, locked_by = null,
    claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
from unnest(:job_ids::uuid[], :fences::bigint[], :problems::text[]) as w (job_id, fence, problem)
where j.id = w.job_id
  and case when w.fence is null then j.locked_until is null or j.locked_until <= now()
           else j.fence = w.fence end
returning j.id;

-- name: end
-- Ends the sessions with this name whose statement has been running for so many seconds although it was
-- cancelled: a user's function caught query_canceled, and went on.
select pg_terminate_backend(pid) as ended
from pg_stat_activity
where datname = current_database() and state = 'active'
  and application_name = left(:application_name::text, 63)
  and query_start <= clock_timestamp() - :seconds::float8 * interval '1 second';

-- name: end_session
-- The same for one session, by its process.
select pg_terminate_backend(pid) as ended
from pg_stat_activity
where datname = current_database() and state = 'active' and pid = :pid::integer
  and query_start <= clock_timestamp() - :seconds::float8 * interval '1 second';

-- name: interrupt
-- Cancels what sessions with this name have been running for so many seconds, if users have put something
-- on tocsin.jobs or tocsin.executions that may take long for one row: a trigger, a constraint, an index or
-- a column that calls a function, a rule or a policy. With locks also what waits for one.
with ours as materialized (
    select 'tocsin.jobs'::regclass::oid as oid
    union all
    select relid::oid from pg_partition_tree('tocsin.executions')
)
select pg_cancel_backend(pid) as cancelled
from pg_stat_activity
where datname = current_database() and state = 'active'
  and application_name = left(:application_name::text, 63)
  and query_start <= clock_timestamp() - :seconds::float8 * interval '1 second'
  and (:locks::boolean and wait_event_type = 'Lock'
      or exists (
          select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
          where t.tgrelid in (select oid from ours) and not t.tgisinternal and t.tgenabled in ('O', 'A')
            and (t.tgrelid <> 'tocsin.jobs'::regclass or t.tgtype & 16 <> 0)
            and p.pronamespace <> 'tocsin'::regnamespace)
      or exists (
          select from pg_constraint
          where conrelid in (select oid from ours) and contype in ('c', 'f', 'x')
            and conname not in (
                'jobs_sound', 'jobs_within_range', 'executions_outcome_known', 'executions_within_range',
                'executions_attempt_unless_missed', 'executions_missed_whole'))
      or exists (
          select from pg_index i join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
          join pg_proc p on d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid
          where i.indrelid in (select oid from ours) and p.pronamespace <> 'tocsin'::regnamespace)
      or exists (select from pg_attribute where attrelid in (select oid from ours) and attgenerated <> '')
      or exists (select from pg_rules where schemaname = 'tocsin' and tablename in ('jobs', 'executions'))
      or exists (select from pg_policies where schemaname = 'tocsin' and tablename in ('jobs', 'executions')));
