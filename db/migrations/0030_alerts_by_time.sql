-- By what old alerts are found: see prune_alerts in db/queries/upkeep.sql.
drop index concurrently if exists tocsin.alerts_at;
create index concurrently alerts_at on tocsin.alerts (at, id);
insert into tocsin.schema_migrations (version) values (30);
