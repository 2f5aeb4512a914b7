-- The word cancel_other of overlap, a rule of db/triggers.sql: this version tells instances that it is there.
begin;
insert into tocsin.schema_migrations (version) values (4);
commit;
