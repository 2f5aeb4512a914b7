-- Validates what 0040 let pass unread: takes no lock that writers wait for.
alter table tocsin.audit_log validate constraint audit_log_loggable;
insert into tocsin.schema_migrations (version) values (41);
