-- API keys.

-- name: valid
-- Every key that may be used now, and whether there ever was one: then every request needs one.
-- How long each has left is told in seconds, so that no other clock matters.
select exists (select from tocsin.api_keys) as any_key, k.id, k.name, k.prefix, k.hash, k.scopes,
    extract(epoch from k.expires_at - now())::float8 as seconds_left
from (select) as one
left join tocsin.api_keys k on k.revoked_at is null and (k.expires_at is null or k.expires_at > now());

-- name: create
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.api_keys (name, prefix, hash, scopes, expires_at)
select :name::text, :prefix::text, :hash::bytea, :scopes::text[],
    clock_timestamp() + :expires_in_seconds::float8 * interval '1 second'
from acting
returning id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at;

-- name: page
select id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
from tocsin.api_keys
where :before::uuid is null or id < :before::uuid
order by id desc
limit :limit::bigint;

-- name: find
-- A prefix is no name of another key that is in force: names are looked at second.
select id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
from tocsin.api_keys
where prefix = :reference::text or (name = :reference::text and revoked_at is null)
order by prefix = :reference::text desc
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
