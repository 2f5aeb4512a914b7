-- API keys.

-- part: limits
k.max_jobs, k.min_interval_seconds::float8, k.allowed_hosts, k.default_ends_in_seconds::float8

-- part: shown
k.id, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, {limits}

-- name: valid
-- Every key that may be used now, and whether there ever was one: then every request needs one.
-- How long each has left is told in seconds, so that no other clock matters.
select exists (select from tocsin.api_keys) as any_key, k.id, k.name, k.prefix, k.hash, k.scopes, {limits},
    extract(epoch from k.expires_at - now())::float8 as seconds_left
from (select) as one
left join tocsin.api_keys k on k.revoked_at is null and (k.expires_at is null or k.expires_at > now());

-- name: create
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.api_keys as k (
    name, prefix, hash, scopes, expires_at, max_jobs, min_interval_seconds, allowed_hosts, default_ends_in_seconds)
select :name::text, :prefix::text, :hash::bytea, :scopes::text[],
    clock_timestamp() + :expires_in_seconds::float8 * interval '1 second', :max_jobs::integer,
    :min_interval_seconds::float8, :allowed_hosts::text[], :default_ends_in_seconds::float8
from acting
returning {shown};

-- name: page
select {shown}
from tocsin.api_keys k
where :before::uuid is null or k.id < :before::uuid
order by k.id desc
limit :limit::bigint;

-- name: find
-- A prefix is no name of another key that is in force: names are looked at second.
select {shown}
from tocsin.api_keys k
where k.prefix = :reference::text or (k.name = :reference::text and k.revoked_at is null)
order by k.prefix = :reference::text desc
limit 1;

-- name: revoke
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
update tocsin.api_keys k
set revoked_at = clock_timestamp()
from acting
where k.id = :key_id::uuid and k.revoked_at is null
returning k.id;

-- name: touch
-- At most once a minute for each key, and without ever waiting for a lock.
with idle as materialized (
    select id from tocsin.api_keys
    where id = :key_id::uuid
      and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute')
    for no key update skip locked
)
update tocsin.api_keys k set last_used_at = clock_timestamp()
from idle where k.id = idle.id
returning k.id;

-- name: queue
-- Waits until all others that make jobs with a key of limited jobs have committed, as tocsin.note_key_jobs does.
select k.id from tocsin.api_keys k where k.id = :key_id::uuid for no key update;

-- name: queue_now
-- As queue, without a wait: no row if others that make jobs with the key have yet to commit.
select k.id from tocsin.api_keys k where k.id = :key_id::uuid for no key update skip locked;

-- name: room
-- How many more jobs may be made with a key: as tocsin.note_key_jobs counts, but nothing is noted.
select k.max_jobs, (
    select count(*) from tocsin.key_jobs n join tocsin.jobs j on j.id = n.job_id where n.key_id = k.id
) as many
from tocsin.api_keys k where k.id = :key_id::uuid;
