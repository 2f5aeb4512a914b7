-- db/roles.sql: the roles of Tocsin, and what each may do in this database. `tocsin roles` runs it, and so does
-- psql -v ON_ERROR_STOP=1 -f db/roles.sql: as the owner of the tables, who may create roles, or finds them made. Safe to run again,
-- which a new version may need. Nobody logs in as one of them; a login is made a member:
--   create role app login password '…' in role tocsin_writer;
-- The owner of the tables, whoever ran `tocsin migrate`, may do everything.

set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

do $$ declare
    name text;
begin
    foreach name in array array['tocsin_instance', 'tocsin_api', 'tocsin_writer', 'tocsin_reader'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then  -- by another session, just now
                null;
            end;
        end if;
    end loop;
end $$;

-- role: tocsin_instance
-- Instances: `tocsin scheduler`.
grant usage on schema tocsin to tocsin_instance;
grant select on tocsin.schema_migrations, tocsin.secrets to tocsin_instance;
grant select, insert, update, delete on tocsin.jobs, tocsin.pauses, tocsin.checks to tocsin_instance;
grant select, update, delete on tocsin.bulk_actions, tocsin.idempotency_keys to tocsin_instance;
grant select, insert, update on tocsin.executions, tocsin.polling, tocsin.upkeep, tocsin.trusted_clock to tocsin_instance;
grant select, insert, update, delete on tocsin.zone_rules, tocsin.instance_rules, tocsin.resting_jobs to tocsin_instance;
grant select, insert, update on tocsin.kinds to tocsin_instance;
grant select, update on tocsin.calendars to tocsin_instance;
grant select, insert, update, delete on tocsin.job_calendars, tocsin.flow_states, tocsin.flow_starts to tocsin_instance;
grant select on tocsin.flows to tocsin_instance;
grant select on tocsin.alert_rules, tocsin.alert_channels to tocsin_instance;
grant select, insert, update, delete on tocsin.alert_states, tocsin.alerts to tocsin_instance;
grant select, update on tocsin.alert_cursor to tocsin_instance;
grant usage on sequence tocsin.executions_id_seq to tocsin_instance;
grant execute on function tocsin.add_partition, tocsin.drop_partition, tocsin.prune_default,
    tocsin.prune_audit_log, tocsin.prune_jobs, tocsin.note_put_off, tocsin.replan_maintained to tocsin_instance;

-- role: tocsin_api
-- The API: `tocsin api`. It may insert into the audit log, so that the API key it names there is believed.
grant usage on schema tocsin to tocsin_api;
grant select on tocsin.schema_migrations, tocsin.audit_log, tocsin.kinds, tocsin.flow_starts to tocsin_api;
grant insert on tocsin.audit_log to tocsin_api;
grant select, insert, update, delete on tocsin.jobs, tocsin.secrets, tocsin.pauses, tocsin.checks to tocsin_api;
grant select, insert, update on tocsin.executions to tocsin_api;
grant usage on sequence tocsin.executions_id_seq to tocsin_api;
grant select, insert, update, delete on tocsin.flows, tocsin.flow_states, tocsin.calendars, tocsin.job_calendars to tocsin_api;
grant select, insert, update, delete on tocsin.maintenance to tocsin_api;
grant select, insert, update (cancelled_at) on tocsin.bulk_actions to tocsin_api;
grant select, insert, update, delete on tocsin.alert_rules, tocsin.alert_channels to tocsin_api;
grant select, insert, update, delete on tocsin.sets, tocsin.set_members to tocsin_api;
grant select, delete on tocsin.alert_states to tocsin_api;
grant select, insert on tocsin.alerts to tocsin_api;
grant select on tocsin.instance_rules, tocsin.resting_jobs, tocsin.upkeep, tocsin.trusted_clock, tocsin.polling to tocsin_api;
grant select, insert, update on tocsin.api_keys, tocsin.idempotency_keys to tocsin_api;
grant select, insert, delete on tocsin.key_jobs to tocsin_api;
grant select, insert, delete on tocsin.sessions to tocsin_api;
do $$ begin
    grant pg_read_all_stats to tocsin_api;  -- to see instances that log in as another role
exception when insufficient_privilege then
    raise warning 'pg_read_all_stats is not granted to tocsin_api: the API sees no instance of another role';
end $$;

-- role: tocsin_writer
-- Programs that insert jobs in their own transactions, and act on them. They read no target and no secret, of history
-- only why a job has not run, and neither read nor write the audit log, nor leave it out.
grant usage on schema tocsin to tocsin_writer;
do $$ declare
    written constant text := (select string_agg(quote_ident(one), ', ') from unnest(tocsin.written_columns()) as one);
    readable constant text := (
        select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
        where a.attrelid = 'tocsin.jobs'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'target');
begin
    execute format('grant select (%s), insert (%s), update (%s), delete on tocsin.jobs to tocsin_writer', readable, written, written);
end $$;
grant execute on function tocsin.pause_job, tocsin.resume_job, tocsin.skip_next, tocsin.run_job, tocsin.cancel_job,
    tocsin.backfill_job, tocsin.explain_job to tocsin_writer;
grant select on tocsin.upcoming, tocsin.failing_jobs to tocsin_writer;

-- role: tocsin_reader
-- People and dashboards that look at jobs and their history, without targets.
grant usage on schema tocsin to tocsin_reader;
do $$ declare
    readable constant text := (
        select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
        where a.attrelid = 'tocsin.jobs'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'target');
begin
    execute format('grant select (%s) on tocsin.jobs to tocsin_reader', readable);
end $$;
grant select on tocsin.executions, tocsin.flows, tocsin.bulk_actions, tocsin.alerts, tocsin.upcoming,
    tocsin.recent_executions, tocsin.failing_jobs, tocsin.overview, tocsin.dead_letters to tocsin_reader;
grant execute on function tocsin.explain_job to tocsin_reader;
