-- The flows of jobs: what instances tell and ask of them. See db/triggers/7_flows.sql.

-- name: scan, reads
-- All flows with a plan, each with the seconds until its first job can be claimed: a step from key to key along
-- jobs_flow.
with recursive keys as (
    (select flow_key from tocsin.jobs where tocsin.is_flow_claimable(jobs) order by flow_key limit 1)
    union all
    select (
        select j.flow_key from tocsin.jobs j
        where tocsin.is_flow_claimable(j) and j.flow_key > keys.flow_key order by j.flow_key limit 1)
    from keys where keys.flow_key is not null
)
select flow_key, (
    select extract(epoch from greatest(j.next_run, j.locked_until) - now())::float8 from tocsin.jobs j
    where tocsin.is_flow_claimable(j)
      and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (keys.flow_key, '-infinity')
      and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (keys.flow_key, 'infinity')
    order by j.flow_key, greatest(j.next_run, j.locked_until) limit 1) as next_seconds
from keys where flow_key is not null;

-- name: tell_starts
-- When the last of the starts was that one look has claimed of a flow, and how many of them there were.
update tocsin.flow_starts s
set many = w.many, latest = w.latest
from json_to_recordset(:starts::json) as w (flow_key text, granted_at timestamptz, many integer, latest timestamptz)
where s.flow_key = w.flow_key and s.granted_at = w.granted_at and s.instance = :instance::text;

-- name: hold
-- Keeps a flow from starts for as long as a target asked for: until the latest instant that any asked for, by the clock
-- that the instance believes, as the database's may have been set forward by mistake. Claims that
-- have not started are recalled, wherever they are held; those that have are extended once more, and go on.
with recalled as materialized (
    select tocsin.notify_recall(id) from (
        select id from tocsin.jobs j
        where j.flow_key = :key::text and j.locked_until is not null and j.locked_until > clock_timestamp()
        limit 1000) as held
)
insert into tocsin.flow_states as s (flow_key, held_until, held_for)
select :key::text, :held_until::timestamptz, :why::text
from (select count(*) from recalled) as told
on conflict (flow_key) do update
set held_until = excluded.held_until, held_for = excluded.held_for
where s.held_until is null or s.held_until < excluded.held_until;

-- name: wake
select tocsin.wake_flow(key) from unnest(:keys::text[]) as key;

-- name: due, reads
select j.id from tocsin.jobs j
where tocsin.is_flow_claimable(j)
  and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (:key::text collate "C", '-infinity')
  and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (:key::text collate "C", now())
  and not (j.id = any(:aside::uuid[]))
order by j.flow_key, greatest(j.next_run, j.locked_until)
limit :limit::bigint;
