-- db/triggers/7_cancel.sql: cuts an execution off that is under way.

-- The wait after an attempt (from 1) that is to be followed by another; jitter: from 0 to 1, varies it by 20 %.
-- As app/core/runs/retry.py has it.
create or replace function tocsin.backoff_seconds(attempt integer, backoff numeric, backoff_max numeric, jitter float8)
returns float8 language sql immutable parallel safe
    return least(backoff::float8 * power(2::float8, least(attempt - 1, 62)), backoff_max::float8)
        * (0.8 + 0.4 * jitter);

-- The execution under way of a job, or of a run beside its plan; null: there is none. Not inlined, as to plan the
-- subquery takes longer than to read a job.
create or replace function tocsin.execution_under_way(job tocsin.jobs)
returns bigint language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if job.execution_id is not null or (job.pending_runs = 0 and job.overlap <> 'allow_all') then
        return job.execution_id;
    end if;
    return (select max(r.execution_id) from tocsin.jobs r where r.run_of = job.id and r.execution_id is not null);
end $$;

-- Settles an execution that is under way as cancelled, whoever has its lease, and has the instance cut it off. Its
-- run is over, unless another attempt is asked for (retry) and max_attempts leaves one; that comes after the backoff.
-- What follows is not claimed before the holder has cut it off, or its lease has run out. The next run of a job
-- that recurs is planned by an instance, as SQL plans one-offs alone; a plan that was moved meanwhile stays.
-- Returns the execution, also of one that was cancelled before; no row, and a notice: it is not under way.
create or replace function tocsin.cancel(execution_id bigint, retry boolean default false)
returns setof tocsin.executions language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    held tocsin.jobs;
    moment timestamptz;
    moved boolean;
    again boolean;
    recurs boolean;
    ended text;
begin
    select * into held from tocsin.jobs j
    where j.locked_until is not null and j.execution_id = cancel.execution_id;
    if held.run_of is not null then  -- the job first, as everybody locks them in this order
        perform from tocsin.jobs j where j.id = held.run_of for no key update;
    end if;
    select * into held from tocsin.jobs j
    where j.id = held.id and j.execution_id = cancel.execution_id for no key update;
    if held.id is null then
        return query select x.* from tocsin.executions x
            where x.id = cancel.execution_id and x.outcome = 'cancelled' and x.reason in ('cancelled', 'overlap');
        if not found then
            select x.outcome into ended from tocsin.executions x where x.id = cancel.execution_id;
            raise notice 'execution % is not under way: %', execution_id,
                case when ended is null then 'there is no such execution, or it was pruned' else 'it ended as ' || ended end;
        end if;
        return;
    end if;
    moment := clock_timestamp();
    moved := held.attempt <> held.claimed_attempt;  -- by an edit, each of which begins at no attempt
    again := coalesce(retry, false) and held.claimed_attempt < held.max_attempts;
    recurs := held.run_at is null and held.run_of is null
        and (held.max_runs is null or held.runs + 1 < held.max_runs);
    begin
        perform set_config('tocsin.runs', 'on', true);  -- nothing of this is an edit
        if held.run_of is not null and not again and held.locked_until > moment then
            -- The row of the run goes: what is left of its lease keeps the plan and other runs waiting.
            update tocsin.jobs j set locked_until = held.locked_until, locked_by = held.locked_by
            where j.id = held.run_of and j.execution_id is null and j.overlap <> 'allow_all';
        end if;
        perform set_config('tocsin.cancelled', held.execution_id::text, true);
        update tocsin.jobs j
        set claimed_for = null,  -- half a lease, which tocsin.free_lease takes away
            next_run = case
                when moved then j.next_run
                when again then moment + interval '1 second' * tocsin.backoff_seconds(
                    held.claimed_attempt, held.backoff_seconds, held.backoff_max_seconds, random()) end,
            scheduled_for = case when moved then j.scheduled_for else held.claimed_for end,
            attempt = case when moved then j.attempt when again then held.claimed_attempt else 0 end,
            planned_at = case when not moved and not again and recurs then null else j.planned_at end,
            last_outcome = 'cancelled', last_finished_at = moment,
            runs = case when again then j.runs else j.runs + 1 end
        where j.id = held.id;
        if not found then  -- a trigger of users suppressed it: nothing is recorded either
            raise exception using errcode = 'TC001', message = 'suppressed';
        end if;
    exception when sqlstate 'TC001' then
        raise notice 'execution % goes on: a trigger of yours on tocsin.jobs suppresses the change', execution_id;
        return;
    end;
    perform set_config('tocsin.cancelled', '', true);
    perform set_config('tocsin.runs', '', true);
    return query select x.* from tocsin.executions x where x.id = cancel.execution_id;
end $$;
