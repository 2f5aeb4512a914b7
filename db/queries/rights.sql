-- Which rights that Tocsin needs the current role lacks.

-- name: lacking
-- From the catalogue: names in a schema that one may not use cannot be looked up by name.
with needed (purpose, privileges, kind, name) as (values
    ('instance', 'usage', 'schema', 'tocsin'),
    ('instance', 'select', 'table', 'schema_migrations'),
    ('instance', 'select, update', 'table', 'jobs'),
    ('instance', 'select, insert, update', 'table', 'executions'),
    ('instance', 'select, insert, update', 'table', 'polling'),
    ('instance', 'select', 'table', 'secrets'),
    ('instance', 'usage', 'sequence', 'executions_id_seq'),
    ('upkeep', 'insert, delete', 'table', 'jobs'),
    ('upkeep', 'select, insert, update, delete', 'table', 'pauses'),
    ('upkeep', 'select, insert, update, delete', 'table', 'checks'),
    ('upkeep', 'select, insert, update, delete', 'table', 'job_calendars'),
    ('upkeep', 'select', 'table', 'flows'),
    ('upkeep', 'select, insert, update, delete', 'table', 'flow_states'),
    ('upkeep', 'select, insert, update, delete', 'table', 'flow_starts'),
    ('upkeep', 'select, update, delete', 'table', 'bulk_actions'),
    ('upkeep', 'select', 'table', 'alert_rules'),
    ('upkeep', 'select', 'table', 'alert_channels'),
    ('upkeep', 'select, insert, update, delete', 'table', 'alert_states'),
    ('upkeep', 'select, insert, update, delete', 'table', 'alerts'),
    ('upkeep', 'select, update', 'table', 'alert_cursor'),
    ('upkeep', 'select, update', 'table', 'calendars'),
    ('upkeep', 'execute', 'function', 'note_put_off'),
    ('upkeep', 'execute', 'function', 'replan_maintained'),
    ('upkeep', 'select, update, delete', 'table', 'idempotency_keys'),
    ('upkeep', 'select, insert, update', 'table', 'upkeep'),
    ('upkeep', 'select, insert, update', 'table', 'trusted_clock'),
    ('upkeep', 'select, insert, update, delete', 'table', 'instance_rules'),
    ('upkeep', 'select, insert, update, delete', 'table', 'zone_rules'),
    ('upkeep', 'select, insert, update, delete', 'table', 'resting_jobs'),
    ('upkeep', 'select, insert, update', 'table', 'kinds'),
    ('upkeep', 'execute', 'function', 'add_partition'),
    ('upkeep', 'execute', 'function', 'drop_partition'),
    ('upkeep', 'execute', 'function', 'prune_default'),
    ('upkeep', 'execute', 'function', 'prune_audit_log'),
    ('upkeep', 'execute', 'function', 'prune_jobs'),
    ('api', 'usage', 'schema', 'tocsin'),
    ('api', 'select', 'table', 'schema_migrations'),
    ('api', 'select, insert, update, delete', 'table', 'jobs'),
    ('api', 'select, insert, update', 'table', 'executions'),
    ('api', 'usage', 'sequence', 'executions_id_seq'),
    ('api', 'select, insert, update, delete', 'table', 'pauses'),
    ('api', 'select, insert, update, delete', 'table', 'checks'),
    ('api', 'select', 'table', 'kinds'),
    ('api', 'select', 'table', 'polling'),
    ('api', 'select, insert, update, delete', 'table', 'flows'),
    ('api', 'select, insert, update, delete', 'table', 'flow_states'),
    ('api', 'select', 'table', 'flow_starts'),
    ('api', 'select, insert, update, delete', 'table', 'job_calendars'),
    ('api', 'select, insert', 'table', 'bulk_actions'),
    ('api', 'select, insert, update, delete', 'table', 'alert_rules'),
    ('api', 'select, insert, update, delete', 'table', 'alert_channels'),
    ('api', 'select, delete', 'table', 'alert_states'),
    ('api', 'select, insert, update, delete', 'table', 'sets'),
    ('api', 'select, insert, update, delete', 'table', 'set_members'),
    ('api', 'select, insert', 'table', 'alerts'),
    ('api', 'select', 'table', 'instance_rules'),
    ('api', 'select', 'table', 'resting_jobs'),
    ('api', 'select', 'table', 'upkeep'),
    ('api', 'select', 'table', 'trusted_clock'),
    ('api', 'select, insert, update, delete', 'table', 'calendars'),
    ('api', 'select, insert, update, delete', 'table', 'maintenance'),
    ('api', 'select, insert', 'table', 'audit_log'),
    ('api', 'select, insert, update', 'table', 'api_keys'),
    ('api', 'select, insert, delete', 'table', 'key_jobs'),
    ('api', 'select, insert, update', 'table', 'idempotency_keys'),
    ('api', 'select, insert, delete', 'table', 'sessions'),
    ('api', 'select, insert, update, delete', 'table', 'secrets'),
    ('sight', 'member', 'role', 'pg_read_all_stats')
), each as (
    select purpose, privilege, kind, name
    from needed, unnest(string_to_array(privileges, ', ')) as privilege
), granted as (
    select each.*, case kind
        when 'schema' then (select has_schema_privilege(n.oid, privilege) from pg_namespace n where n.nspname = name)
        when 'role' then (select pg_has_role(r.oid, 'usage') from pg_roles r where r.rolname = name)
        when 'function' then (
            select bool_and(has_function_privilege(p.oid, privilege))
            from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = 'tocsin' and p.proname = name)
        when 'sequence' then (
            select has_sequence_privilege(c.oid, privilege)
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'tocsin' and c.relname = name)
        else (
            select has_table_privilege(c.oid, privilege)
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'tocsin' and c.relname = name)
        end as is_granted
    from each
)
select purpose, current_user::text as role, case kind
    when 'schema' then upper(privilege) || ' on schema ' || name
    when 'role' then 'membership in ' || name
    when 'table' then upper(privilege) || ' on tocsin.' || name
    else upper(privilege) || ' on ' || kind || ' tocsin.' || name
    end as lacking
from granted
where not is_granted  -- null: there is no such thing yet, which is another's to tell
order by purpose, kind, name, privilege;
