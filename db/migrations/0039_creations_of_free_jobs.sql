-- jobs_creation without the jobs that are leased: a claim writes no entry to it.
drop index concurrently if exists tocsin.jobs_creation_before;
drop index concurrently if exists tocsin.jobs_creation_free;
create index concurrently jobs_creation_free on tocsin.jobs (((tocsin.whole(jobs)).creation))
    where (tocsin.whole(jobs)).creation is not null and (tocsin.whole(jobs)).locked_until is null;
do 'begin alter index tocsin.jobs_creation rename to jobs_creation_before; alter index tocsin.jobs_creation_free rename to jobs_creation; end';
drop index concurrently tocsin.jobs_creation_before;
insert into tocsin.schema_migrations (version) values (39);
