-- The promise that tocsin.ring reads; see docs/how-it-works.md.

-- name: publish
-- The notification that begins a storm's silence is part of the same commit: whoever hears it sees
-- the promise and looks again after its end. A renewal tells nobody: they read it at that look.
with in_force as materialized (
    select from tocsin.doorbell
    where awake_until between clock_timestamp() and clock_timestamp() + interval '5 seconds'
), published as (
    insert into tocsin.doorbell (awake_until)
    values (clock_timestamp() + :seconds::float8 * interval '1 second')
    on conflict (one) do update set awake_until = excluded.awake_until
)
select pg_notify('tocsin_jobs', '') where not exists (select from in_force);

-- name: withdraw
-- Others that promised find it gone when they renew theirs, and say so anew. Deleting would leave
-- dead rows behind where an update is HOT.
with withdrawn as (
    update tocsin.doorbell set awake_until = clock_timestamp() - interval '1 hour'
)
select pg_notify('tocsin_jobs', '');
