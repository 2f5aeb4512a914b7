-- Checks, which expect pings: see db/triggers/8_checks.sql.

-- name: make_token
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select tocsin.check_token(case when acting.actor is not null then :job_id::uuid end) as token from acting;

-- name: revoke_token
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select tocsin.revoke_check_token(case when acting.actor is not null then :job_id::uuid end) as revoked from acting;

-- name: read, reads
select j.id as job_id, j.name, tocsin.check_status(j, c.started_at, c.ended_at) as status,
    coalesce(c.has_token, false) as has_token, c.token_made_at, c.started_at, c.ended_at, j.scheduled_for as expected_at
from tocsin.jobs j left join tocsin.pings_of(j.id) c on true
where j.id = :job_id::uuid;

-- name: pings, reads
-- The latest pings of a job, for an instance that is to judge whether one was missed.
select started_at, ended_at from tocsin.pings_of(:job_id::uuid);

-- name: is_token, reads
select tocsin.is_check_token(:digest::bytea) as known;

-- name: ping
select tocsin.ping(:digest::bytea, :action::text, :exit_code::integer, :body::text) as answer;
