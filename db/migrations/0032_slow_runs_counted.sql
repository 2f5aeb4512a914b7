-- Which slow runs an alert has counted: of some side by side an earlier one may become slow after a later one.
begin;
insert into tocsin.schema_migrations (version) values (32);
alter table tocsin.alert_states add column counted bigint[], add column counted_from bigint;
commit;
