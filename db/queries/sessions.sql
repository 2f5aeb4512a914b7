-- Sessions of browsers: each lives on a key, and ends with it.

-- name: create
-- Deletes sessions that are over, and all but the newest of this key, so that no client fills the table.
with swept as (
    delete from tocsin.sessions
    where expires_at <= now() or digest in (
        select digest from tocsin.sessions where key_id = :key_id::uuid
        order by created_at desc, digest offset :most::bigint - 1)
)
insert into tocsin.sessions (digest, key_id, expires_at)
select :digest::bytea, k.id,
    least(now() + :seconds::float8 * interval '1 second', k.expires_at)
from tocsin.api_keys k
where k.id = :key_id::uuid and k.revoked_at is null
returning expires_at;

-- name: find
select k.prefix, s.expires_at
from tocsin.sessions s join tocsin.api_keys k on k.id = s.key_id
where s.digest = :digest::bytea and s.expires_at > now() and k.revoked_at is null;

-- name: delete
delete from tocsin.sessions where digest = :digest::bytea returning digest;
