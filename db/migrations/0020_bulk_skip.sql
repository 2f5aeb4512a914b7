-- The bulk actions skip and unskip. What is there already meets the constraint, which the next script validates.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (20);

alter table tocsin.bulk_actions drop constraint bulk_actions_action_known,
    add constraint bulk_actions_action_known check (
        action in ('edit', 'delete', 'pause', 'resume', 'run', 'skip', 'unskip', 'reschedule', 'cancel', 'replay', 'redrive', 'backfill')) not valid;

commit;
