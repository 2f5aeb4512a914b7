-- Named secrets, and the secrets inside targets where they are encrypted anew. acting: see jobs.sql.

-- name: put
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
insert into tocsin.secrets as s (name, value, hosts)
select :name::text, :value::text, coalesce(:hosts::text[], '{}') from acting
on conflict (name) do update
set value = excluded.value,
    hosts = coalesce(:hosts::text[], s.hosts),
    updated_at = greatest(clock_timestamp(), s.updated_at + interval '1 microsecond')
returning name, hosts, created_at, updated_at, xmax = 0 as is_new;

-- name: page
select name, hosts, created_at, updated_at
from tocsin.secrets
where :after::text is null or name > :after::text
order by name
limit :limit::bigint;

-- name: delete
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
delete from tocsin.secrets s using acting where s.name = :name::text
returning s.name;

-- name: values
select name, value, hosts from tocsin.secrets where name = any(:names::text[]);

-- name: all_values
select name, value, hosts from tocsin.secrets order by name;

-- name: newest
select name, value, hosts from tocsin.secrets order by id desc limit :limit::bigint;

-- name: newest_targets
select id, kind, target::text as target, edited_at
from tocsin.jobs
where run_of is null
order by id desc
limit :limit::bigint;

-- name: newest_referring
-- Those of the newest jobs that may refer to a named secret.
select coalesce(name, id::text) as called, kind, target::text as target
from (select name, id, kind, target from tocsin.jobs where run_of is null order by id desc limit :among::bigint) as newest
where strpos(target::text, '${secret:') > 0
order by id desc
limit :limit::bigint;

-- name: replace_value
-- Compare-and-set: a value that was set meanwhile is encrypted with the first key already.
update tocsin.secrets set value = :new::text
where name = :name::text and value = :old::text
returning name;

-- name: targets
select id, kind, target::text as target, edited_at
from tocsin.jobs
where run_of is null and (:after::uuid is null or id > :after::uuid)
order by id
limit :limit::bigint;

-- name: targets_of
select id, kind, target::text as target, edited_at
from tocsin.jobs
where id = any(:ids::uuid[]);

-- name: rewrite_targets
-- Compare-and-set on edited_at, which changes so that an edit under way starts over. No edit by a
-- person: planned_at moves, which the plan trigger takes for an instance's write, so that no plan and
-- no plan_error changes, and no instance is woken. A row that another transaction has locked is left for another try.
with wanted as (
    select * from json_to_recordset(:jobs::json) as w (
        id uuid, edited_at timestamptz, target jsonb)
), free as materialized (
    select w.* from tocsin.jobs j join wanted w on j.id = w.id
    where j.edited_at = w.edited_at
    for no key update of j skip locked
)
update tocsin.jobs j
set target = w.target,
    planned_at = j.planned_at + interval '1 microsecond',
    updated_at = clock_timestamp(),
    edited_at = greatest(clock_timestamp(), j.edited_at + interval '1 microsecond')
from free w
where j.id = w.id
returning j.id;

-- name: key_ids
-- Which keys the values were encrypted with; empty: by a development version, which did not say.
-- What is no whole token tells nothing of keys.
select distinct coalesce(substring(value from '^encrypted[.]v2[.]([0-9a-f]{8})[.]'), '') as key_id
from tocsin.secrets
where value ~ '^encrypted[.](v1|v2[.][0-9a-f]{8})[.][A-Za-z0-9_-]{50,}={0,2}$';
