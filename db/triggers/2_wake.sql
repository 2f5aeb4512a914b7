-- db/triggers/2_wake.sql: which writes wake the instances.

-- Wakes the instances. The payload is constant, so Postgres folds a transaction's into one; a
-- notification makes its COMMIT take an instance-wide lock, so only rows that need one come here:
-- due within tocsin.wake_window() (every instance looks twice in that time), or yet to be planned. None is sent
-- while an instance polls, as it announces at a high rate of notifications; an announcement that is
-- longer than any comes from before the clock was set back.
-- A full queue must not fail the writer's COMMIT; a look that comes late is better.
create or replace function tocsin.wake()
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from tocsin.polling
               where polling_until > clock_timestamp()
                 and polling_until < clock_timestamp() + tocsin.max_polling()) then
        return false;
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_jobs', '');
    end if;
    return true;
end $$;

-- Wakes the instances to check targets whose execution is far ahead. Those who write many need not
-- notify for each: while one of the last two seconds has yet to be checked, its writer has notified,
-- and whoever checks it looks again and again for some seconds. See app/scheduler/checking.py.
-- A session that asked within the same second need not ask again; what it remembers of that is undone
-- with the transaction.
create or replace function tocsin.wake_to_check(kind text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
begin
    if exists (select from tocsin.jobs j
               where j.unchecked and j.next_run is not null and j.planned_at is not null and j.plan_error is null
                 and j.kind = wake_to_check.kind
                 and j.edited_at > moment - tocsin.check_window() and j.edited_at <= moment) then
        return false;
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_targets', '');
    end if;
    return true;
end $$;

-- Wakes the instances for rows that an update makes due soon or leaves unplanned, and for targets to check.
create or replace function tocsin.wake_after_update()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.flow_key is not null then
        perform tocsin.wake_flow(new.flow_key);
    else
        perform tocsin.wake();
    end if;
    return null;
end $$;

-- Notifies only of jobs that an edit made claimable sooner: an instance that settles or plans a job
-- knows its next run and looks in time; should that instance die, the others find the job at their
-- next look.
-- The condition is that of tocsin.is_soon, written out: a function that a WHEN calls would be planned anew for
-- every settlement. An edit that frees a lease notifies in tocsin.free_lease.
do $$ begin
    execute format($trigger$
        create or replace trigger jobs_900_wake_update after update of %s on tocsin.jobs
            for each row
            when (new.locked_until is not distinct from old.locked_until
                  and new.paused_at is null and new.plan_error is null
                  and (new.planned_at is null
                       or (new.next_run < clock_timestamp() + interval %L
                           and (old.next_run is null or new.next_run < old.next_run
                                or old.paused_at is not null or old.plan_error is not null))))
            execute function tocsin.wake_after_update()
    $trigger$, tocsin.columns_beside_the_lease(), tocsin.wake_window());
end $$;
