-- Validates what 0027 let pass unread, which takes no lock that writers wait for; and builds indexes of what was told.
alter table tocsin.alert_states validate constraint alert_states_reminded_within_range;
drop index concurrently if exists tocsin.alerts_failed;
create index concurrently alerts_failed on tocsin.alerts (channel, failed_at) where failed_at is not null;
drop index concurrently if exists tocsin.alerts_incident;
create index concurrently alerts_incident on tocsin.alerts (incident) where incident is not null;
insert into tocsin.schema_migrations (version) values (28);
