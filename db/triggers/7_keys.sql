-- db/triggers/7_keys.sql: the limits of API keys.

-- Notes jobs that are about to be made with an API key that has max_jobs, which is the largest number of jobs that exist
-- and were made with it; refuses these (23514) if that would be exceeded. Who makes jobs with the same key at the same
-- time waits at the key's row, and counts when the others have committed: each statement of a function that is volatile
-- sees what is committed by then. A key that has no such limit limits nothing. With one that is revoked, or gone, no jobs
-- are made any more: processes believe it for two seconds, in which its jobs would count anew.
create or replace function tocsin.note_key_jobs(key_id uuid, job_ids uuid[])
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    most integer;
    revoked timestamptz;
    many bigint;
begin
    select k.max_jobs, k.revoked_at into most, revoked
    from tocsin.api_keys k where k.id = note_key_jobs.key_id for no key update;
    if not found or revoked is not null then
        raise exception using
            errcode = 'check_violation', schema = 'tocsin', table = 'api_keys', column = 'max_jobs',
            message = 'the API key, which has the limit max_jobs, is revoked', hint = 'Use one that is in force.';
    end if;
    if most is null then
        return false;
    end if;
    many := (select count(*) from tocsin.key_jobs n where n.key_id = note_key_jobs.key_id);
    if many + cardinality(job_ids) > most then
        delete from tocsin.key_jobs n
        where n.key_id = note_key_jobs.key_id and not exists (select from tocsin.jobs j where j.id = n.job_id);
        many := (select count(*) from tocsin.key_jobs n where n.key_id = note_key_jobs.key_id);
    end if;
    if many + cardinality(job_ids) > most then
        raise exception using
            errcode = 'check_violation', schema = 'tocsin', table = 'api_keys', column = 'max_jobs',
            message = format('the limit max_jobs of the API key is %s, and it has made %s of the jobs that exist%s',
                most, many, case when cardinality(job_ids) > 1 then format(': %s more are too many', cardinality(job_ids)) else '' end),
            hint = 'Delete jobs that are of no use any more, or use a key that may make more.';
    end if;
    insert into tocsin.key_jobs select note_key_jobs.key_id, job_id from unnest(job_ids) as job_id;
    return true;
end $$;

-- A key that is revoked makes no more jobs. With the rights of the owner: who may revoke a key need not know of this.
create or replace function tocsin.forget_key_jobs()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from tocsin.key_jobs n where n.key_id = new.id;
    return null;
end $$;

create or replace trigger api_keys_800_forget_jobs after update on tocsin.api_keys
    for each row when (new.revoked_at is not null and old.revoked_at is null)
    execute function tocsin.forget_key_jobs();
