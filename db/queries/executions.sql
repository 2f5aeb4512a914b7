-- The record of executions. Newest first is the order of their ids in every partition.

-- part: read
-- Texts are cut off at what no instance writes, as a page is bounded by whole rows.
select e.id, e.job_id, j.name as job_name, to_json(j.tags)::text as tags, e.fence, left(e.kind, 1000) as kind,
    e.scheduled_for, e.attempt, e.outcome, left(e.reason, 1000) as reason, e.started_at, e.finished_at,
    left(e.instance, 1000) as instance, e.status_code,
    left(e.response, 100000) as response, left(e.error, 100000) as error, e.missed_runs, e.missed_until,
    extract(epoch from e.started_at - e.scheduled_for)::float8 as lag_seconds,
    extract(epoch from e.finished_at - e.started_at)::float8 as duration_seconds

-- part: listed
-- The executions that a page judges.
x.id >= 0 and (:before::bigint is null or x.id < :before::bigint)
  and (:job_id::uuid is null or x.job_id = :job_id::uuid)
  and case when :outcomes::text[] is null then true
        when cardinality(:outcomes::text[]) = 1 then x.outcome = (:outcomes::text[])[1]  -- in the index, before Postgres 17
        else x.outcome = any(:outcomes::text[]) end
  and ((:reasons::text[] is null and :dead_letter::boolean is distinct from true) or x.outcome <> 'succeeded')
  and (:since::timestamptz is null or x.finished_at >= :since::timestamptz)
  and (:until::timestamptz is null or x.finished_at < :until::timestamptz)

-- part: judged
-- What no index serves.
(:kind::text is null or x.kind = :kind::text)
and (:reasons::text[] is null or x.reason = any(:reasons::text[]))
and (:lowest::integer[] is null or exists (
    select from unnest(:lowest::integer[], :highest::integer[]) as r (low, high)
    where x.status_code between r.low and r.high))
and (:late_by::float8 is null
    or extract(epoch from x.started_at - x.scheduled_for) >= :late_by::float8)
and (:slower_than::float8 is null
    or extract(epoch from x.finished_at - x.started_at) > :slower_than::float8)
and (:tags::text[] is null
    or (select j.tags @> :tags::text[] from tocsin.jobs j where j.id = x.job_id))
and (:dead_letter::boolean is null or tocsin.is_dead_letter(x) = :dead_letter::boolean)
and (:last_of_run::boolean is null or tocsin.is_last_of_run(x) = :last_of_run::boolean)
and (:host::text is null
    or (select lower(substring(j.target ->> 'url'
            from '^[^/?#]*//(?:[^/?#]*@)?([[][^][/?#]*[]]|[^][/?#:]*)')) = :host::text
        from tocsin.jobs j where j.id = x.job_id))

-- name: page
-- from and to prune partitions; a job has an index of its own, and so have the outcomes other
-- than succeeded, which alone have a reason. The rest is judged of the first :window rows that are left.
-- A job's name, tags and host are those that it has now: read for each row, so that no plan walks over all jobs.
{read}
from (
    select x.*,
        {judged} as found
    from tocsin.executions x
    where {listed}
    order by x.id desc
    limit :window::bigint
) e left join lateral (
    select name, tags from tocsin.jobs where id = e.job_id limit 1
) j on true
where e.found
order by e.id desc
limit :limit::bigint;

-- name: count
-- How many of the first :window executions that such a page judges are found, by their outcomes, and how many these are.
select w.outcome, count(*) filter (where w.found) as found, count(*) as judged
from (
    select x.outcome, {judged} as found
    from tocsin.executions x
    where {listed}
    order by x.id desc
    limit :window::bigint
) w
group by w.outcome
order by found desc, w.outcome;

-- name: page_end
-- The last of the :window executions that such a page judges; no row: they are fewer.
select x.id
from tocsin.executions x
where {listed}
order by x.id desc
offset :window::bigint - 1 limit 1;

-- name: find
{read}
from tocsin.executions e left join tocsin.jobs j on j.id = e.job_id
where e.id = :execution_id::bigint;

-- name: later
-- The executions of a job that began after one of them, the earliest first: index executions_job.
{read}
from (
    select * from tocsin.executions x
    where x.job_id = :job_id::uuid and x.id > :execution_id::bigint
    order by x.id limit :limit::bigint
) e left join tocsin.jobs j on j.id = e.job_id
order by e.id;

-- name: of_run
-- The executions of a run, the latest first, among those of its job that are the nearest to one of them.
{read}
from (
    (select * from tocsin.executions x
    where x.job_id = :job_id::uuid and x.id > :execution_id::bigint
    order by x.id limit :window::bigint)
    union all
    (select * from tocsin.executions x
    where x.job_id = :job_id::uuid and x.id <= :execution_id::bigint
    order by x.id desc limit :window::bigint)
) e left join tocsin.jobs j on j.id = e.job_id
where e.scheduled_for = :scheduled_for::timestamptz
order by e.id desc
limit :limit::bigint;

-- name: known_job
-- A deleted job is known by its executions.
select exists (select from tocsin.jobs where id = :job_id::uuid and run_of is null)
    or exists (select from tocsin.executions where job_id = :job_id::uuid) as known;

-- name: cancel
-- The case makes the function, inside which the triggers fire, wait for the setting.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select cancelled.id
from acting, tocsin.cancel(
    case when acting.actor is not null then :execution_id::bigint end, :retry::boolean) as cancelled;

-- name: under_way
select exists (
    select from tocsin.jobs
    where locked_until is not null and execution_id = :execution_id::bigint) as under_way;
