-- What `tocsin migrate` asks and writes down. Nothing here waits for a lock on what others use.

-- name: lock
-- Of two migrations that run at once the second asks again later: waiting in this statement would hold
-- up an index that is built concurrently.
select pg_try_advisory_xact_lock(hashtext('tocsin.migrate')) as locked;

-- name: lock_session
-- The same, until the end of the session: for what runs outside of a transaction.
select pg_try_advisory_lock(hashtext('tocsin.migrate')) as locked;

-- name: wait_briefly
-- From here on locks are waited for only as long as writers may be made to wait behind.
select set_config('lock_timeout', '100ms', true);

-- name: wait_patiently
-- No writer waits behind an index that is built concurrently.
select set_config('lock_timeout', :milliseconds::bigint::text, false);

-- name: functions
select source, catalog, release from tocsin.schema_functions;

-- name: functions_exist
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'tocsin' and c.relname = 'schema_functions') as functions_exist;

-- name: catalog
-- What functions and triggers there are in truth, by any owner. From the columns of the
-- catalogue: to write a trigger out as SQL, Postgres locks its table.
select md5(string_agg(definition, ' ' order by definition)) as catalog
from (
    select concat_ws(' ', p.proname, p.proargtypes::text, p.prorettype::text, p.prosrc, p.prosqlbody::text, p.proconfig::text,
        p.prosecdef::text, p.provolatile::text, p.proisstrict::text, p.proargdefaults::text) as definition
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'tocsin'
    union all
    select concat_ws(' ', t.tgname, t.tgrelid::text, t.tgfoid::text, t.tgtype::text, t.tgenabled::text,
        t.tgattr::text, t.tgqual::text)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'tocsin' and not t.tgisinternal
) as definitions;

-- name: functions_applied
insert into tocsin.schema_functions as f (source, catalog, release)
values (:source::text, :catalog::text, :release::text)
on conflict (one) do update
set source = excluded.source, catalog = excluded.catalog, release = excluded.release,
    applied_at = excluded.applied_at;

-- name: holders
-- Whose transactions hold locks on our tables, or are open where these are waited for as well, the
-- longest first.
select a.pid, a.usename, a.application_name,
    extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds, held.tables
from pg_stat_activity a
cross join lateral (
    select coalesce(array_agg(distinct c.relname order by c.relname), '{}') as tables
    from pg_locks l
    join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    where l.pid = a.pid and n.nspname = 'tocsin' and c.relkind in ('r', 'p') and l.granted
      and l.database = (select oid from pg_database where datname = current_database())
) as held
where a.pid <> pg_backend_pid()
  and (held.tables <> '{}' or (:open::boolean and a.datname = current_database() and a.backend_xmin is not null))
order by seconds desc nulls last
limit 3;
