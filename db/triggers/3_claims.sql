-- db/triggers/3_claims.sql: functions that a look calls.

-- Returns the target of a job as text, or null if the targets that the same statement got before are too long
-- together: more than `most` bytes. The first target is always returned. A target that is stored in few bytes is
-- returned even then, as its text should be short; but the text may be long, so this ends at twice `most`.
-- The function is volatile, so that the row is read as the transaction that has locked it sees it. A row that was
-- validated when it was written is not validated again; a longer target that got past that is refused before its
-- text takes time and memory. The sum is in a setting of the transaction: short targets cost nothing.
create or replace function tocsin.long_target(job_id uuid, most integer)
returns text language plpgsql strict set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    written bigint := coalesce(nullif(current_setting('tocsin.written_bytes', true), ''), '0');
    text text;
    bytes integer;
begin
    select target, validated, pg_column_size(target) <= 2000 and pg_column_compression(target) is null as short
    into one from tocsin.jobs where id = job_id;
    if written > 2::bigint * most or (written > most and not one.short) then
        return null;
    end if;
    if one.validated and not tocsin.fits_at_once(one.target, 262144) then
        raise exception using errcode = 'program_limit_exceeded',
            message = 'target has more than 262144 bytes as text', hint = 'Make it smaller.';
    end if;
    text := one.target::text;
    bytes := octet_length(text);
    if bytes > 2000 then
        perform set_config('tocsin.written_bytes', (written + bytes)::text, true);
        if written > 0 and written + bytes > most then
            return null;
        end if;
    end if;
    return text;
end $$;

-- The earliest start of an execution that nobody settled. Instances claim up to a quarter of a second ahead of the
-- instant, and begin at it; due_at: next_run of the claim, which only an edit has moved far from it.
create or replace function tocsin.earliest_start(claimed_at timestamptz, due_at timestamptz)
returns timestamptz language sql stable
    return greatest(claimed_at, case when due_at < claimed_at + interval '1 second' then due_at end);

-- Records executions as lost whose leases ended before a look claimed their jobs again. Returns why Postgres
-- refused a record, as for a user's trigger or a missing partition: the job of the execution goes on all the same.
-- This is a function, as an INSERT in the look itself would cost each look, and nearly none needs it.
create or replace function tocsin.record_lost(executions json)
returns text language plpgsql strict set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    refused text;
begin
    for one in
        select * from json_to_recordset(executions) as lost (
            id bigint, job_id uuid, fence bigint, kind text, scheduled_for timestamptz, attempt integer,
            started_at timestamptz, instance text, lease_ended_at timestamptz)
    loop
        begin
            insert into tocsin.executions (
                id, job_id, fence, kind, scheduled_for, attempt,
                outcome, reason, started_at, finished_at, instance, error)
            values (
                one.id, one.job_id, one.fence, one.kind, one.scheduled_for, one.attempt,
                'lost', 'lease', one.started_at, now(), one.instance,
                format('instance %s did not settle before its lease ended at %s', one.instance,
                       to_char(one.lease_ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
        exception when others then
            refused := sqlerrm;
        end;
    end loop;
    return refused;
end $$;
