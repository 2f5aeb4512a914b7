-- Why a flow is paused, until when, and by whom.
begin;
insert into tocsin.schema_migrations (version) values (35);
alter table tocsin.flows add column pause_reason text;
alter table tocsin.flows add column paused_until timestamptz;
alter table tocsin.flows add column paused_by text;
alter table tocsin.flows add constraint flows_pause_within_range check (
    paused_until between '2000-01-01 00:00Z' and '2200-01-01 00:00Z'
    and length(pause_reason) <= 1000 and length(paused_by) <= 2000);
commit;
