-- Statements that take too long.

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
