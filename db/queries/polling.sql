-- The announcement of polling that tocsin.wake reads; see docs/how-it-works.md.

-- name: announce
-- The notification of the first announcement is part of the same commit: an instance that gets it sees
-- the announcement and looks again after its end. A renewal sends no notification: that look reads it.
with in_force as materialized (
    select from tocsin.polling
    where polling_until between clock_timestamp() and clock_timestamp() + tocsin.max_polling()
), announced as (
    insert into tocsin.polling (polling_until)
    values (clock_timestamp() + :seconds::float8 * interval '1 second')
    on conflict (one) do update set polling_until = excluded.polling_until
)
select pg_notify('tocsin_jobs', '') where not exists (select from in_force);

-- name: withdraw
-- Other instances that poll find the announcement gone when they renew theirs, and announce anew.
-- Deleting would leave dead rows behind where an update is HOT.
with withdrawn as (
    update tocsin.polling set polling_until = clock_timestamp() - interval '1 hour'
)
select pg_notify('tocsin_jobs', '');
