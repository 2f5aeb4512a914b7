-- db/triggers/3_claims.sql: what a look calls.

-- The target of a job as text, where it may be long. Of those that one statement asks for, in its order, it
-- writes out as many as have at most so many bytes together, and at least one; null: it is not written out. What is
-- stored in few bytes is written all the same, as it should be short; it may be long, so that ends at twice as
-- much. Volatile, so that the row is read as whoever has locked it sees it. A row that was validated when it was
-- written is not validated again; what came past that is refused before it takes time and memory.
-- The sum is in a setting of the transaction: a plain call costs jobs with short targets nothing.
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

-- Records executions as lost, whose leases ended before a look claimed their jobs again. Returns why one was
-- refused, by somebody's trigger or for want of a partition: its job goes on all the same. A function, as an
-- insert in the look would cost each look, and nearly none needs it.
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
