-- The audit log has also who sent a test of a target.
begin;
insert into tocsin.schema_migrations (version) values (36);
alter table tocsin.audit_log drop constraint audit_log_action_known;
alter table tocsin.audit_log add constraint audit_log_action_known
    check (action in ('create', 'update', 'delete', 'test')) not valid;
commit;
