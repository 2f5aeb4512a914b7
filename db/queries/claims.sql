-- The life of a claim: look, settle; below these what is rarely asked. The loader turns :name into a parameter.

-- part: claimed
-- What a look claims, and what of it is lost: for each of its statements the same. The claim of a run that is to be
-- skipped begins no attempt: should its holder die before it drops the run, the next one drops it too. What it returns
-- is read by position, see app.db.claims.claim, so it comes first in each answer. claimed_at is now() for all, and
-- scheduled_for is null where it is next_run.
update tocsin.jobs j
set locked_until = greatest(now(), j.next_run) + :lease_seconds::float8 * interval '1 second',
    locked_by = :instance::text,
    fence = j.fence + 1,
    attempt = j.attempt + (not tocsin.is_skipped(j))::integer,
    claimed_at = now(),
    claimed_for = coalesce(j.scheduled_for, j.next_run),
    claimed_attempt = j.attempt + 1,
    execution_id = nextval('tocsin.executions_id_seq'),
    validated = true  -- when it was written; a claim changes nothing of that
from written as w
where j.id = w.id and w.target is not null
returning j.id, j.run_of, j.name, j.kind, w.target,
    j.run_at, j.cron, j.timezone, j.every_seconds::float8 as every_seconds,
    j.dst_gap, j.dst_overlap, j.starts_at, j.ends_at,
    j.jitter_seconds::float8 as jitter_seconds, j.jitter_percent::float8 as jitter_percent, j.max_runs,
    j.max_attempts, j.backoff_seconds::float8 as backoff_seconds,
    j.backoff_max_seconds::float8 as backoff_max_seconds,
    j.misfire, j.misfire_grace_seconds::float8 as misfire_grace_seconds, j.max_catchup, j.overlap,
    j.timeout_seconds::float8 as timeout_seconds,
    j.next_run, nullif(j.claimed_for, j.next_run) as scheduled_for, j.claimed_attempt as attempt, j.fence,
    j.execution_id, j.edited_at,
    j.last_outcome, j.last_finished_at, j.consecutive_failures, j.runs, j.priority, j.skip_runs, j.skip_until,
    j.resumed_at, j.resume_missed, j.calendars, j.on_closed, j.min_gap_seconds::float8 as min_gap_seconds,
    case when w.execution_id is not null then json_build_object(
        'id', w.execution_id, 'job_id', coalesce(j.run_of, j.id), 'fence', j.fence - 1, 'kind', j.kind,
        'scheduled_for', w.claimed_for, 'attempt', w.claimed_attempt, 'started_at', tocsin.earliest_start(w.claimed_at, case when w.claimed_for < w.claimed_at then j.next_run else w.claimed_for end),
        'instance', w.locked_by, 'lease_ended_at', w.locked_until) end as lost

-- part: pausing
pausing as materialized (
    select scope, ends_at from tocsin.pauses order by scope, ends_at limit 1
)

-- part: due
-- What a look reads of what is due.
    select id, locked_until, locked_by, claimed_at, claimed_for, claimed_attempt, execution_id,
        greatest(next_run, locked_until) as due_at,
        case when pg_column_size(target) < 1000 and pg_column_compression(target) is null then target::text end as text

-- part: free
-- Of jobs that can be claimed those that are due and free, in the order of the index.
greatest(next_run, locked_until) >= least(coalesce(:since::timestamptz, '-infinity'), least(now(), :believed::timestamptz))
      and greatest(next_run, locked_until) <= least(now(), :believed::timestamptz) + :ahead_seconds::float8 * interval '1 second'
      and (locked_until is null or locked_until <= least(now(), :believed::timestamptz))
      and kind = any(:kinds::text[])
      and not (id = any(:aside::uuid[]))
      and (:only::uuid[] is null or id = any(:only::uuid[]))
      and coalesce((select scope from pausing), 2) > 0
    order by greatest(next_run, locked_until)
    limit :limit::bigint
    for no key update skip locked

-- part: raised
-- Of each level above the usual the first that are due and free. jobs_raised has the arguments of its expression the other
-- way round, so that no plan can take the place of it with jobs_claimable, along which all levels stand.
    select due.*
    from generate_series(1, tocsin.highest_priority()) as level
    cross join lateral (
        {due},
            priority
        from tocsin.jobs
        where tocsin.is_claimable(jobs) and flow_key is null and priority > 0 and priority = level
          and greatest(locked_until, next_run) >= least(coalesce(:since::timestamptz, '-infinity'), least(now(), :believed::timestamptz))
          and greatest(locked_until, next_run) <= least(now(), :believed::timestamptz) + :ahead_seconds::float8 * interval '1 second'
          and (locked_until is null or locked_until <= least(now(), :believed::timestamptz))
          and kind = any(:kinds::text[])
          and not (id = any(:aside::uuid[]))
          and (:only::uuid[] is null or id = any(:only::uuid[]))
          and coalesce((select scope from pausing), 2) > 0
        order by flow_key, priority, greatest(locked_until, next_run)
        limit :limit::bigint
        for no key update skip locked
    ) as due

-- part: written
-- What is due with its target. Of the due ones of a look no table is made: to copy so many columns takes longer than to
-- lock their rows.
written as materialized (
    select id, case when octet_length(text) <= 10000 then text else tocsin.long_target(id, 1048576) end as target, due_at,
        locked_until, locked_by, claimed_at, claimed_for, claimed_attempt, execution_id
    from

-- part: claiming
-- What a look does with what it found due.
), claimed as (
    {claimed}
)
select claimed.*, looked.*  -- one row of what the look found, and one for each claim
from (
    select now() as begun_at, least(now(), :believed::timestamptz) as looked_until,
        record_error,
        case when many < found then found_ids end as found_ids, left_ids, left_from,
        case when many < :limit::bigint and many = found then (
            select extract(epoch from greatest(next_run, locked_until) - least(now(), :believed::timestamptz))::float8
            from tocsin.jobs
            where tocsin.is_claimable(jobs)
              and greatest(next_run, locked_until) >= least(coalesce(:since::timestamptz, '-infinity'), least(now(), :believed::timestamptz))
              and kind = any(:kinds::text[])
              and not (id = any (ids))
            order by greatest(next_run, locked_until)
            limit 1
        ) end as next_seconds,
        exists (
            select from tocsin.jobs
            where tocsin.is_unplanned(jobs) and not (id = any(:aside::uuid[]))
        ) as unplanned,
        (select extract(epoch from polling_until - now())::float8 from tocsin.polling where one) as polling_seconds,
        (select scope from pausing) as pause_scope,
        (select extract(epoch from ends_at - least(now(), :believed::timestamptz))::float8 from pausing) as pause_seconds,
        clock_timestamp() as ended_at  -- last, as near to the answer as can be
    from (
        select count(*) as many, coalesce(array_agg(id), '{}') || :aside::uuid[] as ids,
            tocsin.record_lost(json_agg(lost) filter (where lost is not null)) as record_error
        from claimed
    ) as counted, (
        select count(*) as found, array_agg(id) as found_ids,
            array_agg(id) filter (where target is null) as left_ids, min(due_at) filter (where target is null) as left_from
        from written
    ) as found
) as looked full join claimed on false

-- name: look
-- One pass: claim what is due, up to :limit, recording expired leases as lost; then, unless the
-- batch is full, learn how many seconds it is until the next job comes due, or that a due one was
-- left because another transaction has its row locked (zero or less): one probe of jobs_claimable.
-- The look also reads for how many seconds an instance has announced that it polls. What comes
-- due within :ahead_seconds is claimed already, to be started at its instant.
-- kind = any(:kinds): an instance never takes a kind it cannot run.
-- since: the instant to begin at; null: at the earliest due job. See app/scheduler/next_look.py. It never lies ahead of
-- the clock, which may have been set back.
-- Short targets are written out here, long ones by tocsin.long_target: as many as have a megabyte together,
-- and at least one, so that a look answers in milliseconds. left_ids, left_from: the other jobs, and since when the
-- first of them is due.
-- believed: where the clock should be at most, by the count of the instance from earlier answers; null:
-- nothing is known. A clock that jumped ahead of it makes nothing due and ends no lease. See
-- app/db/clock.py.
-- pause_scope, pause_seconds: what is paused, of everything, tags and jobs the first there is, and in how many seconds that ends. While
-- everything is paused nothing is claimed.
-- aside: jobs to leave alone; only: the only jobs to claim, null: any. See app/scheduler/isolation.py.
-- found_ids: all jobs that were due and free, if some are not claimed: jobs of which a trigger of users
-- suppressed the claim, and the jobs left.
-- Every expression here costs every look, whether or not it is evaluated: what is rarely needed is a
-- function or a statement of its own. And no join but by the primary key: sessions that look know none.
with {pausing}, {written} (
    {due}
    from tocsin.jobs
    where tocsin.is_claimable(jobs)
      and {free}
    ) as due
{claiming};

-- part: settle_changes
with wanted as materialized (
    select id, fence, claimed_at, claimed_at + expected_seconds * interval '1 second' as expected_next_run, next_run,
        claimed_at + scheduled_seconds * interval '1 second' as scheduled_for, attempt, plan_error, edit_seen_at,
        last_outcome, claimed_at + finished_seconds * interval '1 second' as last_finished_at, consecutive_failures, runs,
        execution_id, kind, run_scheduled_for, run_attempt, reason,
        claimed_at + started_seconds * interval '1 second' as started_at, coalesce(instance, :instance::text) as instance,
        status_code, response, error, skip_runs
    from (
        select *, (select :claimed_ats::text[]::timestamptz[])[coalesce(look, 1)] as claimed_at
        from json_to_recordset(:settlements::json) as w (
            id uuid, fence bigint, look integer,
            expected_seconds float8, next_run timestamptz, scheduled_seconds float8, attempt integer,
            plan_error text, edit_seen_at timestamptz,
            last_outcome text, finished_seconds float8, consecutive_failures integer, runs bigint,
            execution_id bigint, kind text, run_scheduled_for timestamptz, run_attempt integer, reason text,
            started_seconds float8, instance text, status_code integer, response text, error text, skip_runs integer)
    ) as w
    limit :many::bigint
), held as materialized (
    select w.id, w.fence, w.claimed_at, w.next_run, w.scheduled_for, w.attempt, w.plan_error, w.edit_seen_at,
        w.last_outcome, w.last_finished_at, w.consecutive_failures, w.runs, w.skip_runs, j.ctid as place,
        j.next_run is distinct from coalesce(w.expected_next_run, w.scheduled_for, w.next_run) as moved
    from tocsin.jobs j join wanted w on j.id = w.id
    where j.fence = w.fence and j.claimed_at = w.claimed_at and coalesce(j.locked_until, '-infinity') <> '-infinity'
      and (j.run_of is null or tocsin.hold_job(j.run_of))
    for no key update of j skip locked
), settled as (
    update tocsin.jobs j
    set next_run = case when moved then j.next_run else w.next_run end,
        scheduled_for = case when moved then j.scheduled_for else coalesce(w.scheduled_for, w.next_run) end,
        attempt = case when moved then j.attempt else coalesce(w.attempt, 0) end,
        plan_error = coalesce(case when j.edited_at = w.edit_seen_at then w.plan_error end, j.plan_error),
        last_outcome = w.last_outcome,
        last_finished_at = w.last_finished_at,
        consecutive_failures = coalesce(w.consecutive_failures, 0),
        runs = w.runs,

-- part: settle_end
        locked_until = null, locked_by = null,
        claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
    from held w
    where j.ctid = w.place
    returning j.id, j.fence, w.moved,
        case when j.paused_at is null and j.plan_error is null
            then extract(epoch from j.next_run - now())::float8 end as wakeup_seconds,
        coalesce(j.run_of, j.id) as job_id
), recorded as (
    insert into tocsin.executions (
        id, job_id, fence, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at,
        instance, status_code, response, error, missed_runs, missed_until)
    select w.execution_id, settled.job_id, w.fence, w.kind,
        coalesce(w.run_scheduled_for, w.expected_next_run, w.scheduled_for, w.next_run),
        coalesce(w.run_attempt, 1), w.last_outcome, w.reason, w.started_at, w.last_finished_at,
        w.instance, w.status_code, w.response, w.error, null, null
    from wanted w join settled on settled.id = w.id and settled.fence = w.fence
    where w.execution_id is not null
    union all
    select coalesce(e.id, nextval('tocsin.executions_id_seq')), e.job_id, e.fence, e.kind, e.scheduled_for,
        e.attempt, e.outcome, e.reason, e.started_at, e.finished_at,
        e.instance, e.status_code, e.response, e.error, e.missed_runs, e.missed_until
    from json_to_recordset(:executions::json) as e (
        id bigint, job_id uuid, run_id uuid, fence bigint, kind text, scheduled_for timestamptz, attempt integer,
        outcome text, reason text, started_at timestamptz, finished_at timestamptz, instance text,
        status_code integer, response text, error text, missed_runs bigint, missed_until timestamptz)
    join settled on settled.id = coalesce(e.run_id, e.job_id) and settled.fence = e.fence
    where e.missed_runs is null or not settled.moved  -- what an edit has moved was not missed
)
select w.id, w.fence, settled.id is not null as settled, settled.wakeup_seconds,
    settled.id is null and exists (
        select from tocsin.jobs j
        where j.id = w.id and j.fence = w.fence and j.claimed_at = w.claimed_at
          and coalesce(j.locked_until, '-infinity') <> '-infinity') as held,
    settled.id is null and exists (
        select from held
        where held.id = w.id and held.fence = w.fence and held.claimed_at = w.claimed_at
          and exists (select from tocsin.jobs j where j.ctid = held.place)) as suppressed
from wanted w left join settled on settled.id = w.id and settled.fence = w.fence
where settled.id is null or settled.wakeup_seconds is not null

-- name: settle
-- Closes claims, many at a time: frees the lease, plans the next run or retry, records the
-- executions. Compare-and-set twice over: only under the fence and the instant of the claim, as a
-- restored snapshot gives fences a second time; next_run only if no edit moved it meanwhile, and
-- plan_error only if the job was not edited meanwhile. With a run beside the plan its job is locked too,
-- which is told of the outcome. One batch may hold a late settlement and the current one of the same
-- job. A job whose row another transaction has locked is left alone and reported as still held, to be
-- settled again. A row that was locked is found again by its place: one that somebody wrote between the begin of this
-- statement and the lock is not, and is still held. suppressed: a trigger of users kept the row, which was not locked,
-- from being written. Returns no row for a settlement that took effect after which its job is not due again. Rows are
-- found by their ids: `is not null` of locked_until would lead the planner to jobs_leased, and so to all leases there
-- are. many: how many settlements there are, of which the planner would expect a hundred. A settlement has the execution
-- of its claim in the same object, as to read a key of JSON takes longer than to write its column; executions: those that
-- do not fit in there. So an instant that is the same as another is left out: run_scheduled_for as expected_next_run, that
-- as scheduled_for, that as next_run. The others are seconds since the claim, as to read an instant takes four times as
-- long: exact to the microsecond for a century. claimed_ats: the instants of the claims, of which look is one, null: the
-- first; as text, as for an array of instants asyncpg would ask the server first. instance: who executed where a row does
-- not say.
{settle_changes}
{settle_end};

-- name: look_by_priority
-- The same where more is due than can be claimed: by rank, which is the instant at which a job came due, less a minute
-- for each level of its priority. Of what is due at all and of each level above the usual as many as are claimed are
-- looked at, and locked: no other job can have an earlier rank than these.
with {pausing}, first as materialized (
    {due},
        priority
    from tocsin.jobs
    where tocsin.is_claimable(jobs)
      and {free}
), raised as materialized (
{raised}
), due as materialized (
    select found.*
    from (select * from first where priority not between 1 and tocsin.highest_priority() union all select * from raised) as found
    order by tocsin.rank(due_at, priority)
    limit :limit::bigint
), {written} due
{claiming};

-- name: look_at_raised
-- The same for jobs of a raised priority alone, up to :limit of them, while others have to wait: those that go before all
-- others by their rank. raised_due: how many are due, of each level up to :limit. raised_seconds: in how many seconds the
-- next of them comes due.
with {pausing}, raised as materialized (
{raised}
), due as materialized (
    select * from raised
    where tocsin.rank(due_at, priority) <= coalesce((
        select greatest(next_run, locked_until) from tocsin.jobs
        where tocsin.is_claimable(jobs)
          and greatest(next_run, locked_until) >= least(coalesce(:since::timestamptz, '-infinity'), least(now(), :believed::timestamptz))
          and kind = any(:kinds::text[])
          and not (id = any(:aside::uuid[]))
        order by greatest(next_run, locked_until)
        limit 1), 'infinity')
    order by tocsin.rank(raised.due_at, raised.priority)
    limit :limit::bigint
), {written} due
), claimed as (
    {claimed}
)
select claimed.*, looked.*
from (
    select now() as begun_at, least(now(), :believed::timestamptz) as looked_until, clock_timestamp() as ended_at,
        (select tocsin.record_lost(json_agg(lost) filter (where lost is not null)) from claimed) as record_error,
        (select count(*) from raised) as raised_due,
        (
            select min(extract(epoch from next.at - least(now(), :believed::timestamptz)))::float8
            from generate_series(1, tocsin.highest_priority()) as level
            cross join lateral (
                select greatest(locked_until, next_run) as at from tocsin.jobs
                where tocsin.is_claimable(jobs) and flow_key is null and priority > 0 and priority = level
                  and greatest(locked_until, next_run) > least(now(), :believed::timestamptz) + :ahead_seconds::float8 * interval '1 second'
                  and kind = any(:kinds::text[])
                  and not (id = any(:aside::uuid[]))
                order by flow_key, priority, greatest(locked_until, next_run)
                limit 1
            ) as next
        ) as raised_seconds,
        (select scope from pausing) as pause_scope
) as looked full join claimed on false;

-- name: look_at_flows
-- The same of jobs of some flows, which the look leaves alone: claims what tocsin.permit gives permits for, and tells
-- of each flow (flows) in how many seconds there may be more. keys: the flows.
with permitted as materialized (
    select * from tocsin.permit(
        :keys::text[], case when exists (select from tocsin.pauses where scope = 0) then 0 else :limit::bigint end,
        :ahead_seconds::float8 * interval '1 second',
        :lease_seconds::float8 * interval '1 second',
        least('infinity', :believed::timestamptz), :kinds::text[], :aside::uuid[], :only::uuid[], :instance::text)
), written as materialized (
    select id, case when octet_length(text) <= 10000 then text else tocsin.long_target(id, 1048576) end as target, due_at,
        locked_until, locked_by, claimed_at, claimed_for, claimed_attempt, execution_id, flow_key, is_timed, waiting_since
    from permitted where id is not null
), claimed as (
    {claimed},
        w.flow_key, w.is_timed, w.waiting_since
)
select claimed.*, looked.record_error, found.found_ids, found.left_ids, told.flows, now() as begun_at,
    least(now(), :believed::timestamptz) as looked_until, clock_timestamp() as ended_at,
    (select min(scope) from tocsin.pauses) as pause_scope
from (
    select tocsin.record_lost(json_agg(lost) filter (where lost is not null)) as record_error
    from claimed
) as looked cross join (
    select array_agg(id) as found_ids, array_agg(id) filter (where target is null) as left_ids
    from written
) as found cross join (
    select json_agg(json_build_object('key', flow_key, 'next_seconds', next_seconds))::text as flows
    from permitted where id is null
) as told left join claimed on true;

-- name: wakeup
-- How many seconds it is until the next job comes due, for a look that found one due which a transaction
-- has locked.
select extract(epoch from greatest(next_run, locked_until) - least(now(), :believed::timestamptz))::float8 as wakeup_seconds
from tocsin.jobs
where tocsin.is_claimable(jobs)
  and greatest(next_run, locked_until) > least(now(), :believed::timestamptz)
  and kind = any(:kinds::text[])
  and not (id = any(:aside::uuid[]))
order by greatest(next_run, locked_until)
limit 1;

-- name: limit
select set_config('statement_timeout', :statement_timeout::text, false);

-- name: settle_skipped
-- The same for a batch in which runs were skipped: counts down how many are left to skip, unless that was edited.
-- By itself, as the triggers for what people write would fire for every settlement.
{settle_changes}
        skip_runs = case when w.skip_runs is null or j.edited_at <> w.edit_seen_at then j.skip_runs
            else nullif(w.skip_runs, 0) end,
{settle_end};

-- name: wake
-- Notifies the other instances. An instance looks at what it plans itself, except when it stops.
select pg_notify('tocsin_jobs', '');
