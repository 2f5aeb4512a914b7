-- Validates what 0020 let pass unread: takes no lock that writers wait for.
alter table tocsin.bulk_actions validate constraint bulk_actions_action_known;
insert into tocsin.schema_migrations (version) values (21);
