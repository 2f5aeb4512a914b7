-- The limits of flows, and how much of them is used. acting: see jobs.sql.

-- part: shown
key.flow_key, f.max_concurrency, f.rate, coalesce(f.period_seconds, 1)::float8 as period_seconds, f.burst,
    paused.paused_at is not null as paused, paused.paused_at, paused.pause_reason, paused.paused_until, paused.paused_by,
    case when s.held_until > now() then s.held_until end as held_until,
    case when s.held_until > now() then s.held_for end as held_for,
    (select count(*) from (
        select from tocsin.jobs j
        where j.flow_key = key.flow_key and j.locked_until is not null and j.locked_until > now() limit 10000) as leased)
        as executing,
    (select count(*) from (
        select from tocsin.jobs j
        where tocsin.is_flow_claimable(j) and j.flow_key = key.flow_key
          and greatest(j.next_run, j.locked_until) <= now() limit 10000) as due) as waiting,
    f.created_at, f.updated_at

-- name: put
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.flows as f (flow_key, max_concurrency, rate, period_seconds, burst, paused_at)
select :flow_key::text, :max_concurrency::integer, :rate::integer, :period_seconds::float8::numeric, :burst::integer,
    case when :paused::boolean then clock_timestamp() end
from acting
on conflict (flow_key) do update
set max_concurrency = excluded.max_concurrency, rate = excluded.rate, period_seconds = excluded.period_seconds,
    burst = excluded.burst,
    paused_at = case when :paused::boolean and coalesce(f.paused_until > clock_timestamp(), true) then coalesce(f.paused_at, excluded.paused_at)
        else excluded.paused_at end,
    updated_at = clock_timestamp()
returning flow_key, xmax = 0 as is_new;

-- name: page
select {shown}
from (
    (
        select flow_key from tocsin.flows
        where :after::text is null or flow_key > :after::text collate "C"
        order by flow_key limit :limit::bigint
    ) union (
        select flow_key from tocsin.flow_states
        where held_until > now() and (:after::text is null or flow_key > :after::text collate "C")
        order by flow_key limit :limit::bigint
    )
) as key
left join tocsin.flows f on f.flow_key = key.flow_key
left join tocsin.flows paused on paused.flow_key = key.flow_key and coalesce(paused.paused_until > now(), true)
left join tocsin.flow_states s on s.flow_key = key.flow_key
order by key.flow_key
limit :limit::bigint;

-- name: find
select {shown}
from (select :flow_key::text collate "C" as flow_key) as key
left join tocsin.flows f on f.flow_key = key.flow_key
left join tocsin.flows paused on paused.flow_key = key.flow_key and coalesce(paused.paused_until > now(), true)
left join tocsin.flow_states s on s.flow_key = key.flow_key
where num_nonnulls(f.flow_key, s.flow_key) > 0
   or exists (select from tocsin.jobs j where tocsin.is_flow_claimable(j) and j.flow_key = key.flow_key);

-- name: delete
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
delete from tocsin.flows f using acting where f.flow_key = :flow_key::text
returning f.flow_key;

-- name: pause
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select paused.flow_key
from acting, tocsin.pause_flow(
    case when acting.actor is not null then :flow_key::text end, :reason::text, :until::timestamptz) as paused;

-- name: resume
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select resumed.flow_key
from acting, tocsin.resume_flow(case when acting.actor is not null then :flow_key::text end) as resumed;

-- name: release
select tocsin.release_flow(:flow_key::text);
