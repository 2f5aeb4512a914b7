-- db/triggers/8_views.sql: how jobs stand, for people who look from psql; without targets, and with the rights of the
-- tables' owner.

-- The next run of each job that waits for one or executes: select * from tocsin.upcoming order by at limit 20;
create or replace view tocsin.upcoming as
    select greatest(j.next_run, j.locked_until) as at, j.id as job_id, j.name as job_name, j.kind, j.tags,
        coalesce(j.scheduled_for, j.next_run) as scheduled_for, tocsin.state(j) as state,
        tocsin.is_skipped(j) as is_skipped, j.flow_key, j.priority
    from tocsin.jobs j
    where (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and j.run_of is null;

-- What ended in the last day: select * from tocsin.recent_executions order by id desc limit 20;
create or replace view tocsin.recent_executions as
    select x.id, x.job_id, j.name as job_name, x.kind, x.scheduled_for, x.attempt, x.outcome, x.reason, x.started_at,
        x.finished_at, extract(epoch from x.started_at - x.scheduled_for) as lag_seconds,
        extract(epoch from x.finished_at - x.started_at) as duration_seconds, x.instance, x.status_code, x.error
    from tocsin.executions x left join tocsin.jobs j on j.id = x.job_id
    where x.finished_at > now() - interval '1 day';

-- The jobs that go on although their last runs failed, or are over with a failure, or cannot be planned.
create or replace view tocsin.failing_jobs as
    select j.id as job_id, j.name as job_name, j.kind, j.tags, tocsin.state(j) as state, j.consecutive_failures,
        j.last_outcome, j.last_finished_at, j.next_run, j.plan_error
    from tocsin.jobs j
    where j.consecutive_failures > 0 and j.next_run is not null and j.run_of is null
    union all
    select j.id, j.name, j.kind, j.tags, tocsin.state(j), j.consecutive_failures, j.last_outcome, j.last_finished_at,
        j.next_run, j.plan_error
    from tocsin.jobs j
    where tocsin.is_aside(j) and tocsin.aside_state(j) in ('failed', 'invalid') and j.next_run is null;

-- How all of it stands, in one row; each count ends at 10,000.
create or replace view tocsin.overview as
    select
        (select count(*) from (
            (select from tocsin.jobs j where tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= now() limit 10000)
            union all
            (select from tocsin.jobs j where tocsin.is_flow_claimable(j) and greatest(j.next_run, j.locked_until) <= now() limit 10000)
        ) as due) as due,
        (select count(*) from (
            select from tocsin.jobs j where j.locked_until > now() limit 10000) as leased) as executing,
        (select count(*) from (select from tocsin.failing_jobs f limit 10000) as failing) as failing,
        (select count(*) from (
            select from tocsin.jobs j
            where tocsin.is_aside(j) and tocsin.aside_state(j) = 'paused' limit 10000) as paused) as paused,
        (select count(*) from (
            select from tocsin.executions x
            where x.finished_at > now() - interval '1 hour' and x.outcome = 'succeeded' limit 10000) as ended) as succeeded_last_hour,
        (select count(*) from (
            select from tocsin.executions x
            where x.finished_at > now() - interval '1 hour' and x.outcome <> 'succeeded' limit 10000) as ended) as troubled_last_hour,
        (select min(at) from (
            (select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j where tocsin.is_claimable(j) order by 1 limit 1)
            union all
            (select greatest(j.next_run, j.locked_until) from tocsin.jobs j where tocsin.is_flow_claimable(j) order by 1 limit 1)
        ) as next) as next_run;

-- The runs that are next within a time from now, the earliest first: select * from tocsin.upcoming(interval '1 hour');
create or replace function tocsin.upcoming(within interval)
returns setof tocsin.upcoming language sql stable set search_path = pg_catalog, pg_temp as $$
    select u.* from tocsin.upcoming as u where u.at <= now() + within order by u.at
$$;

-- The jobs whose time has come, and that no instance has claimed yet; the oldest first.
create or replace function tocsin.due()
returns setof tocsin.upcoming language sql stable set search_path = pg_catalog, pg_temp as $$
    select u.* from tocsin.upcoming as u where u.at <= now() order by u.at
$$;
