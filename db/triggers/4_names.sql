-- db/triggers/4_names.sql: names by which nothing could be addressed.

-- Whether no job may be given this name: what follows /v1/jobs in addresses of their own, and what programs leave
-- out of an address, with what stands before. RESERVED_NAMES in app/core/jobs/names.py are the same. A job that has one of
-- them from before keeps it, so this is no rule of tocsin.broken_rule.
create or replace function tocsin.is_reserved(name text)
returns boolean language sql immutable parallel safe
    return name in ('.', '..', 'apply', 'batch', 'plan');

-- Refuses a name, in the column that the trigger names, that programs leave out of an address. What has it from before keeps it.
create or replace function tocsin.refuse_dots()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and to_jsonb(new) -> tg_argv[0] = to_jsonb(old) -> tg_argv[0] then
        return new;
    end if;
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = tg_table_name, column = tg_argv[0],
        message = tg_argv[0] || ' cannot be . or .., which no address can have', hint = 'Choose another name.';
end $$;

create or replace trigger calendars_090_dots before insert or update of name on tocsin.calendars
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger flows_090_dots before insert or update of flow_key on tocsin.flows
    for each row when (new.flow_key in ('.', '..')) execute function tocsin.refuse_dots('flow_key');
create or replace trigger sets_090_dots before insert or update of name on tocsin.sets
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger alert_rules_090_dots before insert or update of name on tocsin.alert_rules
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger alert_channels_090_dots before insert or update of name on tocsin.alert_channels
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
create or replace trigger api_keys_090_dots before insert or update of name on tocsin.api_keys
    for each row when (new.name in ('.', '..')) execute function tocsin.refuse_dots('name');
