-- The word allow_all of overlap, and runs of the plan that have rows of their own, both of db/triggers.sql: this
-- version tells instances that they are there.
begin;
insert into tocsin.schema_migrations (version) values (9);
commit;
