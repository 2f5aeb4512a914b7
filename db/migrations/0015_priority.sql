-- Which due jobs go first where more are due than can start.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (15);

alter table tocsin.jobs add column priority integer not null default 0;

drop trigger jobs_200_sound on tocsin.jobs;
create trigger jobs_200_sound before update of
    id, name, description, tags, metadata, kind, target, run_at, cron, timezone, every_seconds,
    dst_gap, dst_overlap, starts_at, ends_at, max_runs, max_attempts, backoff_seconds,
    backoff_max_seconds, timeout_seconds, misfire, misfire_grace_seconds, max_catchup, paused_at,
    overlap, flow_key, jitter_seconds, jitter_percent, priority, created_at, updated_at, edited_at
    on tocsin.jobs for each row execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_200_sound;

commit;
