-- The alerts that are told and not over, the latest first, of however many: an index, which writers do not wait for.
drop index concurrently if exists tocsin.alert_states_told;
create index concurrently alert_states_told on tocsin.alert_states (told_at desc, job_id) where told_at is not null;
insert into tocsin.schema_migrations (version) values (31);
