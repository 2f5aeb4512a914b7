-- Which jobs of a raised priority are due. The table may be large, so it stays open to writers.
drop index concurrently if exists tocsin.jobs_raised;
create index concurrently jobs_raised on tocsin.jobs (flow_key, priority, greatest(locked_until, next_run))
    where priority > 0
        and next_run is not null and paused_at is null and plan_error is null and (pending_runs = 0 or attempt > 0);
insert into tocsin.schema_migrations (version) values (16);
