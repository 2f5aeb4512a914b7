-- Time zone rules: which instance goes by which, and the replanning of jobs by newer ones.

-- name: tell
-- Says what an instance goes by and runs, forgets those that have said nothing for a day, and returns which
-- rules are known and whether a walk is due by those of this instance.
with told as (
    insert into tocsin.instance_rules (name, version, source, slots, product, kinds)
    values (:instance::text, :version::text, :source::text, :slots::integer, :product::text, :kinds::text[])
    on conflict (name) do update
    set version = excluded.version, source = excluded.source, slots = excluded.slots, product = excluded.product,
        kinds = excluded.kinds, told_at = excluded.told_at
), forgotten as (
    delete from tocsin.instance_rules
    where told_at not between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '1 day'
      and name <> :instance::text
)
select
    (select max(version) from tocsin.zone_rules) as newest,
    coalesce((select walked_at is null or exists (
            select from tocsin.instance_rules i
            where i.version < r.version and i.told_at > r.walked_at - interval '2 hours')
        from tocsin.zone_rules r where r.version = :version::text), true) as unwalked;

-- name: note
-- Keeps the rules themselves, the newest three. The first ones move nothing.
with noted as (
    insert into tocsin.zone_rules (version, zones, walked_at)
    select :version::text, :zones::bytea,
        case when not exists (select from tocsin.zone_rules) then clock_timestamp() end
    on conflict (version) do nothing
)
delete from tocsin.zone_rules
where version not in (select version from tocsin.zone_rules order by version desc limit 2)
  and version <> :version::text;

-- name: begin_walk
-- Lets one instance at a time walk, and renews its time; no row: another one does. Returns the rules
-- of before. A time that is longer than any comes from before the clock was set back.
update tocsin.zone_rules r
set walking_until = clock_timestamp() + interval '2 minutes'
where r.version = :version::text
  and (r.walking_until is null
       or r.walking_until not between clock_timestamp() and clock_timestamp() + interval '2 minutes')
returning (select version from tocsin.zone_rules o where o.version < r.version
           order by version desc limit 1) as version,
    (select zones from tocsin.zone_rules o where o.version < r.version
     order by version desc limit 1) as zones;

-- name: go_on
update tocsin.zone_rules set walking_until = clock_timestamp() + interval '2 minutes'
where version = :version::text;

-- name: end_walk
update tocsin.zone_rules
set walking_until = null, walked_at = case when :complete::boolean then clock_timestamp() else walked_at end
where version = :version::text;

-- name: step
-- The next jobs in the order of their ids, with those among them whose plan follows a zone: the plan
-- of a cron that no instance has claimed, no retry and no run now. Always a row, until there are no more.
with walked as materialized (
    select id, run_at, cron, timezone, every_seconds::float8 as every_seconds,
        dst_gap, dst_overlap, starts_at, ends_at, jitter_seconds::float8, jitter_percent::float8,
        next_run, scheduled_for,
        cron is not null and timezone <> 'UTC' and scheduled_for > now()
            and (scheduled_for = next_run or (scheduled_for < next_run and tocsin.has_jitter(jobs)))
            and attempt = 0 and locked_until is null
            and plan_error is null as zoned
    from tocsin.jobs
    where id > :after::uuid
    order by id
    limit :many::bigint
)
select final.id as last_id, clock_timestamp() as now, walked.*
from (select id from walked order by id desc limit 1) as final
left join walked on walked.zoned;

-- name: move
-- Compare-and-set on everything that made the plan one to move. A transaction that has the row locked may be
-- changing it: the row is passed over, and read again by the next walk.
with wanted as (
    select * from json_to_recordset(:moves::json) as w (
        job_id uuid, next_run timestamptz, scheduled_for timestamptz, moved_to timestamptz, moved_for timestamptz)
), free as materialized (
    select w.* from tocsin.jobs j join wanted w on j.id = w.job_id
    where j.next_run = w.next_run and j.scheduled_for = w.scheduled_for and j.attempt = 0
      and j.locked_until is null and j.plan_error is null
    for no key update of j skip locked
)
update tocsin.jobs j
set next_run = w.moved_to, scheduled_for = w.moved_for, planned_at = clock_timestamp()
from free w
where j.id = w.job_id
returning j.id;

-- name: used
-- What the instances said lately.
select name, version, source, slots, product from tocsin.instance_rules
where told_at > clock_timestamp() - interval '150 minutes'
order by name;

-- name: offsets
-- How far this server's clocks are from UTC, in seconds, for zones that it knows.
select zone, at, extract(epoch from (at at time zone zone) - (at at time zone 'UTC'))::float8 as seconds
from unnest(:zones::text[]) as zone
cross join unnest(:instants::timestamptz[]) as at
where exists (select from pg_timezone_names n where n.name = zone);
