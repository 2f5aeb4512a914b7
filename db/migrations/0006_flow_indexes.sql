-- The indexes of flows, and jobs_claimable without jobs of a flow.
drop index concurrently if exists tocsin.jobs_flow;
create index concurrently jobs_flow on tocsin.jobs (flow_key, greatest(next_run, locked_until))
    where next_run is not null and paused_at is null and plan_error is null and (pending_runs = 0 or attempt > 0)
        and flow_key is not null;
drop index concurrently if exists tocsin.jobs_flow_due;
create index concurrently jobs_flow_due on tocsin.jobs (greatest(next_run, locked_until))
    where next_run is not null and paused_at is null and plan_error is null and (pending_runs = 0 or attempt > 0)
        and flow_key is not null;
drop index concurrently if exists tocsin.jobs_flow_leases;
create index concurrently jobs_flow_leases on tocsin.jobs (flow_key, locked_until)
    where locked_until is not null and flow_key is not null;
drop index concurrently if exists tocsin.jobs_claimable_alone;
create index concurrently jobs_claimable_alone on tocsin.jobs (greatest(next_run, locked_until))
    where next_run is not null and paused_at is null and plan_error is null and (pending_runs = 0 or attempt > 0)
        and flow_key is null;
-- From here on looks, also those of older instances, read the new index: they ask this function.
create or replace function tocsin.is_claimable(job tocsin.jobs)
returns boolean language sql immutable parallel safe
    return job.next_run is not null and job.paused_at is null and job.plan_error is null
        and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is null;
drop index concurrently if exists tocsin.jobs_claimable;
alter index tocsin.jobs_claimable_alone rename to jobs_claimable;
alter table tocsin.audit_log validate constraint audit_log_entity_known;
insert into tocsin.schema_migrations (version) values (6);
