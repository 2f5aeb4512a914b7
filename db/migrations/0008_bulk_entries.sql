-- Reads the audit log while others write it.
alter table tocsin.audit_log validate constraint audit_log_entity_known;
insert into tocsin.schema_migrations (version) values (8);
