-- When a window of maintenance was last changed: what a holder that died made of a run is sure only by windows that stood.
begin;
insert into tocsin.schema_migrations (version) values (34);
alter table tocsin.maintenance add column updated_at timestamptz not null default clock_timestamp();
alter table tocsin.maintenance add constraint maintenance_updated_within_range check (
    updated_at between '2000-01-01 00:00Z' and '2200-01-01 00:00Z');
commit;
