-- Indexes that name a column of the whole row where they named the column: see docs/adr/0141-indexes-of-whole-rows.md.
-- The table may be large, so it stays open to writers; an index is in use until the one that follows it has its name.
create or replace function tocsin.whole(job tocsin.jobs) returns tocsin.jobs language sql immutable parallel safe
    return job;
drop index concurrently if exists tocsin.jobs_claimable_before;
drop index concurrently if exists tocsin.jobs_claimable_whole;
create index concurrently jobs_claimable_whole on tocsin.jobs (greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is null;
do 'begin alter index tocsin.jobs_claimable rename to jobs_claimable_before; alter index tocsin.jobs_claimable_whole rename to jobs_claimable; end';
drop index concurrently tocsin.jobs_claimable_before;
drop index concurrently if exists tocsin.jobs_flow_before;
drop index concurrently if exists tocsin.jobs_flow_whole;
create index concurrently jobs_flow_whole on tocsin.jobs (flow_key, greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is not null;
do 'begin alter index tocsin.jobs_flow rename to jobs_flow_before; alter index tocsin.jobs_flow_whole rename to jobs_flow; end';
drop index concurrently tocsin.jobs_flow_before;
drop index concurrently if exists tocsin.jobs_flow_due_before;
drop index concurrently if exists tocsin.jobs_flow_due_whole;
create index concurrently jobs_flow_due_whole on tocsin.jobs (greatest((tocsin.whole(jobs)).next_run, (tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0)
        and flow_key is not null;
do 'begin alter index tocsin.jobs_flow_due rename to jobs_flow_due_before; alter index tocsin.jobs_flow_due_whole rename to jobs_flow_due; end';
drop index concurrently tocsin.jobs_flow_due_before;
drop index concurrently if exists tocsin.jobs_flow_leases_before;
drop index concurrently if exists tocsin.jobs_flow_leases_whole;
create index concurrently jobs_flow_leases_whole on tocsin.jobs (flow_key, ((tocsin.whole(jobs)).locked_until))
    where (tocsin.whole(jobs)).locked_until is not null and flow_key is not null;
do 'begin alter index tocsin.jobs_flow_leases rename to jobs_flow_leases_before; alter index tocsin.jobs_flow_leases_whole rename to jobs_flow_leases; end';
drop index concurrently tocsin.jobs_flow_leases_before;
drop index concurrently if exists tocsin.jobs_raised_before;
drop index concurrently if exists tocsin.jobs_raised_whole;
create index concurrently jobs_raised_whole on tocsin.jobs
    (flow_key, ((tocsin.whole(jobs)).priority), greatest((tocsin.whole(jobs)).locked_until, (tocsin.whole(jobs)).next_run))
    where (tocsin.whole(jobs)).priority > 0 and (tocsin.whole(jobs)).next_run is not null and (tocsin.whole(jobs)).paused_at is null
        and (tocsin.whole(jobs)).plan_error is null and ((tocsin.whole(jobs)).pending_runs = 0 or (tocsin.whole(jobs)).attempt > 0);
do 'begin alter index tocsin.jobs_raised rename to jobs_raised_before; alter index tocsin.jobs_raised_whole rename to jobs_raised; end';
drop index concurrently tocsin.jobs_raised_before;
drop index concurrently if exists tocsin.jobs_unplanned_before;
drop index concurrently if exists tocsin.jobs_unplanned_whole;
create index concurrently jobs_unplanned_whole on tocsin.jobs (((tocsin.whole(jobs)).edited_at))
    where (tocsin.whole(jobs)).planned_at is null and (tocsin.whole(jobs)).plan_error is null;
do 'begin alter index tocsin.jobs_unplanned rename to jobs_unplanned_before; alter index tocsin.jobs_unplanned_whole rename to jobs_unplanned; end';
drop index concurrently tocsin.jobs_unplanned_before;
drop index concurrently if exists tocsin.jobs_leased_before;
drop index concurrently if exists tocsin.jobs_leased_whole;
create index concurrently jobs_leased_whole on tocsin.jobs (((tocsin.whole(jobs)).locked_by)) where (tocsin.whole(jobs)).locked_until is not null;
do 'begin alter index tocsin.jobs_leased rename to jobs_leased_before; alter index tocsin.jobs_leased_whole rename to jobs_leased; end';
drop index concurrently tocsin.jobs_leased_before;
drop index concurrently if exists tocsin.jobs_aside_before;
drop index concurrently if exists tocsin.jobs_aside_whole;
create index concurrently jobs_aside_whole on tocsin.jobs ((case
        when (tocsin.whole(jobs)).plan_error is not null then 'invalid'
        when (tocsin.whole(jobs)).paused_at is not null then 'paused'
        when (tocsin.whole(jobs)).pending_runs = 0 and (tocsin.whole(jobs)).next_run is null and (tocsin.whole(jobs)).planned_at is not null then
            case when (tocsin.whole(jobs)).last_outcome in ('failed', 'timed_out', 'cancelled', 'lost') then 'failed' else 'finished' end
        when (tocsin.whole(jobs)).attempt > 0 then 'retrying'
        else 'runs'
    end), id)
    where run_of is null and ((tocsin.whole(jobs)).plan_error is not null or (tocsin.whole(jobs)).paused_at is not null
        or (tocsin.whole(jobs)).pending_runs > 0
        or ((tocsin.whole(jobs)).next_run is null and (tocsin.whole(jobs)).planned_at is not null)
        or ((tocsin.whole(jobs)).attempt > 0 and (tocsin.whole(jobs)).locked_until is null));
do 'begin alter index tocsin.jobs_aside rename to jobs_aside_before; alter index tocsin.jobs_aside_whole rename to jobs_aside; end';
drop index concurrently tocsin.jobs_aside_before;
drop index concurrently if exists tocsin.jobs_failing_before;
drop index concurrently if exists tocsin.jobs_failing_whole;
create index concurrently jobs_failing_whole on tocsin.jobs (id)
    where (tocsin.whole(jobs)).consecutive_failures > 0 and (tocsin.whole(jobs)).next_run is not null and run_of is null;
do 'begin alter index tocsin.jobs_failing rename to jobs_failing_before; alter index tocsin.jobs_failing_whole rename to jobs_failing; end';
drop index concurrently tocsin.jobs_failing_before;
drop index concurrently if exists tocsin.jobs_unchecked_before;
drop index concurrently if exists tocsin.jobs_unchecked_whole;
create index concurrently jobs_unchecked_whole on tocsin.jobs (kind, ((tocsin.whole(jobs)).edited_at))
    where (tocsin.whole(jobs)).unchecked and (tocsin.whole(jobs)).next_run is not null
        and (tocsin.whole(jobs)).planned_at is not null and (tocsin.whole(jobs)).plan_error is null;
do 'begin alter index tocsin.jobs_unchecked rename to jobs_unchecked_before; alter index tocsin.jobs_unchecked_whole rename to jobs_unchecked; end';
drop index concurrently tocsin.jobs_unchecked_before;
drop index concurrently if exists tocsin.jobs_creation_before;
drop index concurrently if exists tocsin.jobs_creation_whole;
create index concurrently jobs_creation_whole on tocsin.jobs (((tocsin.whole(jobs)).creation)) where (tocsin.whole(jobs)).creation is not null;
do 'begin alter index tocsin.jobs_creation rename to jobs_creation_before; alter index tocsin.jobs_creation_whole rename to jobs_creation; end';
drop index concurrently tocsin.jobs_creation_before;
insert into tocsin.schema_migrations (version) values (38);
