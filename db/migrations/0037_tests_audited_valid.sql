-- Validates what 0036 let pass unread: takes no lock that writers wait for.
alter table tocsin.audit_log validate constraint audit_log_action_known;
insert into tocsin.schema_migrations (version) values (37);
