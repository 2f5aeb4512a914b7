-- db/triggers/8_checks.sql: jobs of the kind check, which expect pings instead of making calls.

-- A ping that ends a run writes its execution and how its job stands. It leaves the plan alone: an instance that claims
-- the job at the end of its grace compares the plan with tocsin.checks. See app/core/runs/expectation.py.

-- Makes the address of a check: select tocsin.check_token('nightly-backup'); the address is /ping/ and the token. An earlier
-- one is no longer valid. Only a digest is kept. Returns null if there is no such job.
create or replace function tocsin.check_token(job uuid)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- 244 bits of the server's cryptographic randomness.
    token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
    found_kind constant text := tocsin.checked_kind(job, 'update');
begin
    if found_kind is null then
        return null;
    end if;
    insert into tocsin.checks as c (job_id, token_digest) values (job, sha256(convert_to(token, 'UTF8')))
    on conflict (job_id) do update set token_digest = excluded.token_digest, token_made_at = clock_timestamp();
    perform tocsin.audit_check(job, 'made');
    return token;
end $$;

-- Has the address of a check lead nowhere. Returns whether it led anywhere.
create or replace function tocsin.revoke_check_token(job uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    found_kind constant text := tocsin.checked_kind(job, 'update');
begin
    update tocsin.checks c set token_digest = null where c.job_id = revoke_check_token.job and c.token_digest is not null;
    if not found then
        return false;
    end if;
    perform tocsin.audit_check(job, 'revoked');
    return true;
end $$;

-- Makes the address of a check, given by its name or by its id as text: select tocsin.check_token('nightly-backup'); the
-- address is /ping/ and the token that is returned. An earlier one is no longer valid. Only a digest is kept, so it is shown
-- once. Null: there is no such job. Refused: a job of another kind.
create or replace function tocsin.check_token(job text)
returns text language sql
begin atomic
    select tocsin.check_token(tocsin.job_id(check_token.job));
end;

-- Has the address of a check, given by its name or by its id as text, lead nowhere. Returns whether it led anywhere.
create or replace function tocsin.revoke_check_token(job text)
returns boolean language sql
begin atomic
    select tocsin.revoke_check_token(tocsin.job_id(revoke_check_token.job));
end;

-- The kind of a job, which has to be check; null: there is no such job. These functions act with their owner's rights, so
-- whoever calls them needs the right that an edit of the job would need.
create or replace function tocsin.checked_kind(job uuid, needed text)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    kind constant text := (select j.kind from tocsin.jobs j where j.id = job and j.run_of is null);
begin
    if not has_any_column_privilege(session_user, 'tocsin.jobs', needed) then
        raise insufficient_privilege using message = 'permission denied for table jobs';
    end if;
    if kind <> 'check' then
        perform tocsin.refuse('kind', format('is %L, which expects no pings', kind), 'Write check.');
    end if;
    return kind;
end $$;

-- Writes into the audit log that the address of a check was made or revoked.
create or replace function tocsin.audit_check(job uuid, what text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, after)
    select 'update', 'job', j.id, j.name, array['check_token'], jsonb_build_object('check_token', what)
    from tocsin.jobs j where j.id = audit_check.job;
end $$;

-- Takes a ping for the check whose token has this digest: start, success, fail or log; exit_code: that of what has ended.
-- Returns ok; unknown: no check has the token; or limited: it got sixty pings in the minute. Whoever knows a token may
-- call this, so it can be called by a role with no other right. What holds one check up holds up no other: all it waits
-- for are the rows of that check, and for no longer than lock_timeout.
create or replace function tocsin.ping(digest bytea, action text, exit_code integer default null, body text default null)
returns text language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    c tocsin.checks;
    j tocsin.jobs;
    moment timestamptz;
    began timestamptz;
    result text := case when coalesce(exit_code, 0) <> 0 then 'failed' when action = 'fail' then 'failed' else 'succeeded' end;
    was_late boolean;
begin
    select * into c from tocsin.checks where token_digest = digest for update;
    if c.job_id is not null then
        select * into j from tocsin.jobs where id = c.job_id and kind = 'check' and run_of is null;
    end if;
    if j.id is null then
        return 'unknown';
    end if;
    moment := clock_timestamp();  -- once the row is ours, so that pings have the order in which they are taken
    if c.minute_at > moment - interval '1 minute' and c.minute_at <= moment then
        if c.pings >= 60 then
            return 'limited';
        end if;
        c.pings := c.pings + 1;
    else
        c.minute_at := moment;
        c.pings := 1;
    end if;
    body := left(body, 8000);
    if action = 'start' then
        update tocsin.checks set started_at = moment, log = body, minute_at = c.minute_at, pings = c.pings where job_id = c.job_id;
        return 'ok';
    elsif action = 'log' then
        update tocsin.checks
        set log = right(concat_ws(chr(10), c.log, body), 16000), minute_at = c.minute_at, pings = c.pings
        where job_id = c.job_id;
        return 'ok';
    end if;
    update tocsin.checks
    set ended_at = moment, log = null, minute_at = c.minute_at, pings = c.pings
    where job_id = c.job_id;
    select * into j from tocsin.jobs where id = c.job_id and kind = 'check' and run_of is null for no key update;
    if j.id is null then
        return 'unknown';
    end if;
    -- What ended at a time to come ended while the clock was ahead: it says nothing of what began since.
    began := case when c.started_at > greatest(case when c.ended_at <= moment then c.ended_at end, moment - interval '100 years')
        then least(c.started_at, moment) else moment end;
    was_late := result = 'succeeded' and coalesce(j.last_outcome in ('missed', 'timed_out'), false);
    -- An instance that is judging the job at this moment judges again: its lease is taken away.
    perform set_config('tocsin.runs', 'on', true);
    update tocsin.jobs
    set last_outcome = result, last_finished_at = moment,
        consecutive_failures = case when result = 'failed' then least(consecutive_failures, 2147483646) + 1 else 0 end,
        runs = runs + 1, fence = fence + (locked_until is not null)::integer,
        attempt = case when locked_until is null then attempt else 0 end,
        locked_until = null, locked_by = null, claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null
    where id = j.id;
    perform set_config('tocsin.runs', '', true);
    if j.locked_until is not null and tocsin.is_soon(j, moment) then
        perform tocsin.wake();
    end if;
    begin
        insert into tocsin.executions (
            job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at, response, error)
        values (
            j.id, 'check',
            case when j.scheduled_for <= moment + interval '30 seconds' then j.scheduled_for else moment end, 1, result,
            case when was_late then 'late' when coalesce(exit_code, 0) <> 0 then 'exit_code' when result = 'failed' then 'fail' end,
            began, moment, nullif(right(concat_ws(chr(10), case when began < moment then c.log end, body), 16000), ''),
            case when coalesce(exit_code, 0) <> 0 then format('what is checked ended with exit code %s', exit_code)
                when result = 'failed' then 'what is checked said that it failed' end);
    exception when others then
        null;  -- a trigger of users on executions: the job goes on without its record
    end;
    return 'ok';
end $$;

-- What came in for a check, for instances and the API; no row: it never had an address. With their owner's rights, so that
-- no role needs any to tocsin.checks, whose digests are as good as tokens for tocsin.ping.
create or replace function tocsin.pings_of(job uuid)
returns table (has_token boolean, token_made_at timestamptz, started_at timestamptz, ended_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select c.token_digest is not null, c.token_made_at, c.started_at, c.ended_at
    from tocsin.checks c where c.job_id = pings_of.job;
end;

-- Whether some check has the token of this digest (SHA-256).
create or replace function tocsin.is_check_token(digest bytea)
returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from tocsin.checks c where c.token_digest = is_check_token.digest);
end;

-- Whether the ping of a check is due, its grace goes on, and the ping has not come, of which an end at this instant was the
-- latest. Which end counts: see app/core/runs/expectation.py; an interval goes from end to end, for an instant one may come early.
create or replace function tocsin.is_ping_late(job tocsin.jobs, ended_at timestamptz)
returns boolean language sql stable
    return job.scheduled_for <= now() and job.next_run > job.scheduled_for
        and not coalesce(ended_at <= now() and case when job.every_seconds is not null and job.starts_at is null
            then ended_at > job.scheduled_for - interval '1 second' * job.every_seconds::float8
            else ended_at >= job.scheduled_for - interval '1 second' * least(30, greatest(0,
                case when jsonb_typeof(job.target -> 'grace_seconds') = 'number'
                    then (job.target ->> 'grace_seconds')::numeric else 300 end))::float8 end, false);

-- How a check stands, in one word: new, started, up, late (the ping is due, and its grace goes on), down, paused,
-- or invalid: pings are recorded, and nobody notices one that does not come.
create or replace function tocsin.check_status(job tocsin.jobs, started_at timestamptz, ended_at timestamptz)
returns text language sql stable
    return case
        when job.plan_error is not null then 'invalid'
        when job.paused_at is not null then 'paused'
        when started_at <= now() and started_at > coalesce(greatest(
            case when ended_at <= now() then ended_at end, case when job.last_finished_at <= now() then job.last_finished_at end),
            '-infinity') then 'started'
        when job.last_outcome in ('missed', 'failed', 'timed_out') then 'down'
        when tocsin.is_ping_late(job, ended_at) then 'late'
        when ended_at is null then 'new'
        else 'up' end;

-- How a check stands by the pings that have come for it.
create or replace function tocsin.check_status(job tocsin.jobs)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    pings record;
begin
    select p.started_at, p.ended_at into pings from tocsin.pings_of(job.id) as p;
    return tocsin.check_status(job, pings.started_at, pings.ended_at);
end $$;
