-- What the picture of the coming week is made of: see app/core/schedule/heat.py.

-- name: size
-- About how many jobs there are, as the planner has it.
select greatest(reltuples, 0)::bigint as jobs from pg_class where oid = 'tocsin.jobs'::regclass;

-- name: crowds
-- The jobs that run before :until by schedule, of one-offs by minute and of intervals by the minute of their phase.
-- Of a large table a part of the blocks is read, each time the same: so it takes as long for ten million jobs.
with drawn as materialized (
    select id, coalesce(name, id::text) as called, greatest(next_run, :now::timestamptz) as next_run, scheduled_for,
        case when run_of is null then run_at else scheduled_for end as run_at,
        case when run_of is null then cron end as cron,
        case when run_of is null then every_seconds end as every_seconds,
        timezone, dst_gap, dst_overlap, starts_at, ends_at, jitter_seconds, jitter_percent
    from tocsin.jobs tablesample system (:percent::float8) repeatable (0)
    where next_run is not null and paused_at is null and plan_error is null and next_run < :until::timestamptz
), keyed as materialized (
    -- One number stands for a schedule: to sort by all columns takes three times as long.
    select *, hash_record_extended(row(at, phase, cron, timezone, every_seconds, dst_gap, dst_overlap, starts_at, ends_at,
        jitter_seconds, jitter_percent), 0) as key
    from (
        select *,
            case when run_at is not null then date_trunc('minute', next_run) end as at,
            case when every_seconds is not null and scheduled_for is not null then
                floor(mod(extract(epoch from scheduled_for), every_seconds) / 60) end as phase
        from drawn
    ) as minutely
), crowded as (
    select min(coalesce(scheduled_for, next_run)) as anchor, min(next_run) as next_run, count(*) as jobs,
        array_agg(id) as ids, (array_agg(called))[1:2] as names, min(called) as first
    from keyed
    group by key
)
select k.at, null::timestamptz as run_at, k.cron, k.timezone, k.every_seconds::float8 as every_seconds, k.dst_gap,
    k.dst_overlap, k.starts_at, k.ends_at, k.jitter_seconds::float8 as jitter_seconds,
    k.jitter_percent::float8 as jitter_percent, c.anchor, c.next_run, c.jobs,
    case when k.cron ~* '(?<![a-z])h(?![a-z])' then c.ids[1:(:hashed::integer)] end as ids, c.names
from (select * from crowded order by jobs desc, first limit :most::bigint) as c join keyed k on k.id = c.ids[1]
order by c.jobs desc, c.first;
