-- Answers that are kept for requests which come with an Idempotency-Key.

-- name: patience
-- How long the rest of the transaction waits for a lock, such as that of another request with the same key.
select current_setting('lock_timeout') as before, set_config('lock_timeout', :setting::text, true) as is_now;

-- name: begin
-- Returns a row if the request is the first with its key; waits for the end of one under way. By a clock that was set
-- forward since the last pass of housekeeping, which is about every hour, nothing is over. One that was entered before
-- it was answered counts as first again after :gone_seconds: its process is gone. One that was forgotten does at once.
insert into tocsin.idempotency_keys as k (id, request, owner)
values (:id::bytea, :request::bytea, :owner::text)
on conflict (id) do update
set request = excluded.request, owner = excluded.owner, at = clock_timestamp(),
    status = 0, headers = '{}', answer = '', bytes = 0
where k.at <= clock_timestamp() - interval '24 hours'
  and k.at <= coalesce((select c.shown from tocsin.trusted_clock c), 'infinity') - interval '22 hours'
  or k.status = 0 and k.request = excluded.request
  and k.at <= clock_timestamp() - :gone_seconds::float8 * interval '1 second'
  or k.status = -1
returning 1 as begun;

-- name: read
select request, status, headers::text as headers, answer from tocsin.idempotency_keys
where id = :id::bytea and status >= 0;

-- name: keep
update tocsin.idempotency_keys
set status = :status::integer, headers = :headers::text::jsonb, answer = :answer::bytea, bytes = octet_length(:answer::bytea)
where id = :id::bytea and status = 0;

-- name: forget
-- Has a request that was entered, and then refused, be over: any may have its key. It is as old as those that are
-- deleted, and counts in no limit.
update tocsin.idempotency_keys set status = -1, at = clock_timestamp() - interval '24 hours'
where id = :id::bytea and status = 0;

-- name: kept
select count(*) as answers, coalesce(sum(bytes), 0)::bigint as bytes
from tocsin.idempotency_keys
where owner = :owner::text and at > clock_timestamp() - interval '24 hours';

-- name: let_go
-- Makes all answers of an owner but the newest :keep as old as those that are deleted.
update tocsin.idempotency_keys k
set at = clock_timestamp() - interval '24 hours'
where k.owner = :owner::text and k.at > clock_timestamp() - interval '24 hours' and k.at <= (
    select n.at from tocsin.idempotency_keys n
    where n.owner = :owner::text
    order by n.at desc offset :keep::bigint limit 1);
