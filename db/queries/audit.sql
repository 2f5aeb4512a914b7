-- The audit log.

-- name: page
-- Newest first is the order of the ids. The creation of a job that was not changed since is with the job itself: of a
-- job that is free by jobs_creation, of the few that are leased by jobs_leased.
with written as (
    select id, at, actor, db_user, program, action, entity, entity_id, entity_name, changed,
        before::text as before, after::text as after
    from tocsin.audit_log
    where (:before_id::bigint is null or id < :before_id::bigint)
      and (:entity_id::uuid is null or entity_id = :entity_id::uuid)
    order by id desc
    limit :limit::bigint
), free as (
    select * from tocsin.jobs j
    where j.creation is not null and j.locked_until is null
      and (:before_id::bigint is null or j.creation < :before_id::bigint)
      and (:entity_id::uuid is null or j.id = :entity_id::uuid)
    order by j.creation desc
    limit :limit::bigint
), leased as (
    select * from tocsin.jobs j
    where j.creation is not null and j.locked_until is not null
      and (:before_id::bigint is null or j.creation < :before_id::bigint)
      and (:entity_id::uuid is null or j.id = :entity_id::uuid)
    order by j.creation desc
    limit :limit::bigint
), unwritten as (
    select * from free
    union all
    select * from leased
    order by creation desc
    limit :limit::bigint
)
select * from written
union all
select creation, created_at, created_by, created_as, created_with, 'create', 'job', id, name, null,
    null, tocsin.created_image(unwritten::tocsin.jobs)::text
from unwritten
order by id desc
limit :limit::bigint;

-- name: note_test
-- Writes down that a test is sent; of its target what the log keeps of a job's. acting: see jobs.sql.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.audit_log (action, entity, entity_id, entity_name, after)
select 'test', 'job', :id::uuid, :name::text,
    jsonb_build_object('kind', :kind::text, 'target', tocsin.audited_target(:kind::text, :target::jsonb))
from acting;
