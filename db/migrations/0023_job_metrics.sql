-- Which jobs have metrics of their own. The table may be large, so it stays open to writers.
drop index concurrently if exists tocsin.jobs_metrics;
create index concurrently jobs_metrics on tocsin.jobs (id) where run_of is null and metadata @> '{"metrics": true}';
insert into tocsin.schema_migrations (version) values (23);
