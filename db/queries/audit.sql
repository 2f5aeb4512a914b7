-- Who changed what.

-- name: page
-- Newest first is the order of the ids.
select id, at, actor, db_user, program, action, entity, entity_id, entity_name, changed,
    before::text as before, after::text as after
from tocsin.audit_log
where (:before_id::bigint is null or id < :before_id::bigint)
  and (:entity_id::uuid is null or entity_id = :entity_id::uuid)
order by id desc
limit :limit::bigint;
