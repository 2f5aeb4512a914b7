-- db/triggers/5_leases.sql: leases that a person takes away or edits under.

-- Takes the lease away if a person changed columns that identify it: returns the row without locked_until, so that
-- tocsin.free_lease does the rest.
create or replace function tocsin.take_lease_away(was tocsin.jobs, edited tocsin.jobs)
returns tocsin.jobs language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if num_nonnulls(was.locked_until, was.execution_id, was.claimed_at, was.claimed_for, was.claimed_attempt) = 5
        and row(edited.locked_by is null, edited.fence,
                edited.execution_id, edited.claimed_at, edited.claimed_for, edited.claimed_attempt)
            is distinct from row(was.locked_by is null, was.fence,
                was.execution_id, was.claimed_at, was.claimed_for, was.claimed_attempt) then
        edited.locked_until := null;
        edited.execution_id := was.execution_id;
        edited.claimed_at := was.claimed_at;
        edited.claimed_for := was.claimed_for;
        edited.claimed_attempt := was.claimed_attempt;
    end if;
    return edited;
end $$;

-- Notifies the instance that holds a claim of a row, which then finds out what became of its lease.
create or replace function tocsin.notify_recall(row_id uuid)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_recalls', row_id::text);
    end if;
end $$;

-- Completes the end of a lease that a person began, by setting locked_until to null or by changing columns that
-- identify the lease: clears all columns of the lease, records its execution as lost, and notifies the instance
-- that holds it. The run is due again, and the attempt counts. For tocsin.cancel the execution is recorded as
-- cancelled, and locked_until stays, so that nothing of the job is claimed before the holder has cut it off.
create or replace function tocsin.free_lease()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    moment constant timestamptz := clock_timestamp();
    cancelled constant boolean := coalesce(current_setting('tocsin.cancelled', true) = old.execution_id::text, false);
    actor constant text :=
        left(coalesce(nullif(current_setting('tocsin.actor', true), ''), 'user ' || session_user), 200);
    cause constant text := coalesce(nullif(current_setting('tocsin.cancelled_for', true), ''), 'cancelled');
    earliest constant timestamptz := tocsin.earliest_start(old.claimed_at, old.next_run);
    woke boolean;
    broken text[];
begin
    if old.execution_id is null then
        broken := tocsin.broken_rule(new, true);
        perform tocsin.refuse('execution_id', 'and claimed_at to claimed_attempt are set without a claim',
            'Leave them to the instances. To free a lease set locked_until to null.');
    end if;
    insert into tocsin.executions (
        id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at, instance, error)
    values (old.execution_id, coalesce(old.run_of, old.id), old.fence, old.kind,
        coalesce(old.claimed_for, old.scheduled_for, old.next_run, moment),
        coalesce(old.claimed_attempt, greatest(old.attempt, 1)),
        case when cancelled then 'cancelled' else 'lost' end, case when cancelled then cause else 'lease' end,
        -- Claims are made ahead of their instants: what is cancelled before its own has not begun.
        case when not cancelled or earliest <= moment then least(moment, earliest) end, moment, old.locked_by,
        case when cancelled and cause = 'overlap' then
                format('%s asked for another run with the overlap cancel_other; was cut off on instance %s', actor, old.locked_by)
            when cancelled then format('%s cancelled this execution on instance %s', actor, old.locked_by)
            else format('%s took its lease away from instance %s', actor, old.locked_by) end);
    if not cancelled or old.locked_until <= moment then
        new.locked_until := null;
        new.locked_by := null;
    end if;
    new.claimed_at := null;
    new.claimed_for := null;
    new.claimed_attempt := null;
    new.execution_id := null;
    new.fence := greatest(new.fence, old.fence);
    if cancelled then
        new.last_finished_at := moment;
        perform tocsin.audit_cancellation(old);
        perform tocsin.notify_recall(old.id);
    else
        new.updated_at := moment;
        new.edited_at := greatest(new.edited_at, moment, old.edited_at + interval '1 microsecond');
    end if;
    if new.flow_key is not null then
        perform tocsin.wake_flow(new.flow_key);
    elsif tocsin.is_soon(new, moment) then
        woke := tocsin.wake();
    end if;
    return new;
end $$;

-- False for all statements of instances: a claim sets all of these columns, a settlement none.
create or replace trigger jobs_120_free_lease before update on tocsin.jobs
    for each row
    when ((new.locked_until is null and new.execution_id is not null)
          or num_nonnulls(new.execution_id, new.claimed_at, new.claimed_for, new.claimed_attempt) not in (0, 4))
    execute function tocsin.free_lease();

-- Notifies the instance that holds a claim that the job was edited or deleted. An instance holds a claim for a
-- moment before its start; a claim that has not started is then released, and the job as it is now is claimed.
-- Claims, extensions and settlements do not come here: they leave edited_at alone, whatever a user's trigger does
-- with updated_at.
create or replace function tocsin.recall()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform tocsin.notify_recall(old.id);
    return null;
end $$;

create or replace trigger jobs_910_recall_update after update on tocsin.jobs
    for each row
    when (old.locked_until is not null and new.edited_at is distinct from old.edited_at)
    execute function tocsin.recall();
create or replace trigger jobs_910_recall_delete after delete on tocsin.jobs
    for each row when (old.locked_until is not null)
    execute function tocsin.recall();
