-- What is kept of executions whose settlement had no effect, as their lease was lost or taken away.

-- name: record
-- What came of executions that could not be settled, kept as evidence: on the lost row that
-- the next holder wrote, or on a row of its own where there is none (the job was deleted, its
-- lease was taken away by hand). An execution that is recorded already stays as it is: it was
-- settled, and only the answer got lost. After a snapshot was restored its number may belong to
-- another by now, or be given to one later: then it gets a new one. Returns those that did lose their
-- lease. Of one that was cancelled an answer is kept that came nevertheless.
with late as (
    select * from json_to_recordset(:executions::json) as e (
        id bigint, job_id uuid, fence bigint, kind text, scheduled_for timestamptz, attempt integer,
        outcome text, reason text, started_at timestamptz, finished_at timestamptz, instance text,
        status_code integer, response text, error text)
), evidence as (
    update tocsin.executions x
    set status_code = late.status_code, response = late.response,
        error = concat_ws('; ', x.error, format('it %s later', late.outcome), late.error)
    from late
    where x.id = late.id and x.job_id = late.job_id and coalesce(x.instance = late.instance, true)
      and (x.outcome = 'lost' or (x.reason in ('cancelled', 'overlap') and x.outcome = 'cancelled' and x.fence = late.fence and late.outcome <> 'cancelled'))
      and x.status_code is null and x.response is null
    returning x.id, x.outcome
), unknown as materialized (
    select late.*,
        not exists (select from tocsin.jobs j where j.id = late.job_id) as gone,
        late.id > coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0)
            or exists (select from tocsin.executions x where x.id = late.id)
            or exists (
                select from tocsin.jobs j where j.locked_until is not null and j.execution_id = late.id) as taken
    from late
    where late.id is not null
      and not exists (
          select from tocsin.executions x
          where x.job_id = late.job_id and x.fence = late.fence
            and coalesce(x.instance = late.instance, true)
            and ((x.id = late.id and (x.outcome = 'lost' or (x.outcome = 'cancelled' and x.reason in ('cancelled', 'overlap'))
                                      or coalesce(x.started_at <= late.started_at, true)))
                or x.started_at = late.started_at))
), kept as (
    insert into tocsin.executions (
        id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at,
        instance, status_code, response, error)
    select case when taken then nextval('tocsin.executions_id_seq') else id end,
        job_id, fence, kind, scheduled_for, attempt,
        case when gone then outcome else 'lost' end,
        case when gone then reason else 'lease' end,
        started_at, finished_at, instance, status_code, response, error
    from unknown
)
select id from evidence where outcome = 'lost' union all select id from unknown where not gone;

-- name: free_cancelled
-- Of executions that could not be settled, those that were cancelled. As they are cut off by now, what is left of
-- their leases is freed; that of a run beside the plan which is over is left on its job.
with late as (
    select * from unnest(:ids::uuid[], :job_ids::uuid[], :fences::bigint[], :execution_ids::bigint[])
        as w (id, job_id, fence, execution_id)
), freed as (
    update tocsin.jobs j
    set locked_until = null, locked_by = null,
        next_run = j.next_run  -- so that tocsin.follow_runs is called
    from (select id, fence from late union select job_id, fence from late) as w
    where j.id = w.id and j.fence = w.fence and j.locked_by = :instance::text
      and j.execution_id is null and j.locked_until is not null
    returning tocsin.wake() as woke
)
select x.id, (select bool_or(woke) from freed) as woke
from late join tocsin.executions x on x.id = late.execution_id
where x.job_id = late.job_id and x.fence = late.fence and x.outcome = 'cancelled' and x.reason in ('cancelled', 'overlap');
