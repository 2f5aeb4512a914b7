-- db/triggers/3_claims.sql: what a look calls.

-- The targets as text, and the claims, of those of the jobs, in order, of which the long ones have at most so many bytes
-- together; at least one. Each is written out once, and none once that is reached but what should be short;
-- it may be long all the same, so that ends at twice as much. Volatile, so that each is read as whoever
-- has locked it sees it. A row that was validated when it was written is not validated again; what came past
-- that is refused before it takes time and memory.
create or replace function tocsin.targets(ids uuid[], most bigint)
returns table (
    id uuid, target text, locked_until timestamptz, locked_by text, claimed_at timestamptz, claimed_for timestamptz,
    claimed_attempt integer, execution_id bigint)
language plpgsql strict rows 100 set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    total bigint := 0;
begin
    for one in
        select j.id, j.target, j.validated,
            j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id,
            pg_column_size(j.target) <= 2000 and pg_column_compression(j.target) is null as short
        from unnest(ids) with ordinality as wanted (id, place),
            lateral (select * from tocsin.jobs as j where j.id = wanted.id offset 0) as j
        order by wanted.place
    loop
        continue when total > most and not one.short;
        if one.validated and not tocsin.fits_at_once(one.target, 262144) then
            raise exception using errcode = 'program_limit_exceeded',
                message = 'target has more than 262144 bytes as text', hint = 'Make it smaller.';
        end if;
        id := one.id;
        target := one.target::text;
        if octet_length(target) > 2000 then
            total := total + octet_length(target);
            exit when total > 2 * most and total > octet_length(target);
            continue when total > most and total > octet_length(target);
        end if;
        locked_until := one.locked_until;
        locked_by := one.locked_by;
        claimed_at := one.claimed_at;
        claimed_for := one.claimed_for;
        claimed_attempt := one.claimed_attempt;
        execution_id := one.execution_id;
        return next;
    end loop;
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
