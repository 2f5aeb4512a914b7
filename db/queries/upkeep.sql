-- What keeps the database in shape; each is safe to run at any time and by any number at once.

-- name: add_partitions
-- A week ahead, so that no outage shorter than that puts rows into the default partition.
select tocsin.add_partitions(7) as partitions;

-- name: prune
select partitions, jobs from tocsin.prune(:retention_days::numeric);

-- name: release_orphans
-- Frees the leases that this instance holds by name only: claimed by a look whose answer was lost
-- with its connection. All leases in force are in this range of jobs_claimable; the second more is
-- for those that were claimed ahead of their instant.
update tocsin.jobs
set locked_until = null, locked_by = null,
    claimed_at = null, claimed_for = null, claimed_attempt = null, execution_id = null,
    attempt = greatest(attempt - 1, 0)
where next_run is not null and paused_at is null and plan_error is null
  and greatest(next_run, locked_until) between now() and now() + (:lease_seconds::float8 + 1) * interval '1 second'
  and locked_by = :instance::text
  and execution_id <> all (:executing::bigint[])
returning id as job_id;

-- name: schema_exists
select to_regclass('tocsin.schema_migrations') is not null as schema_exists;

-- name: schema_versions
select version, breaking from tocsin.schema_migrations order by version;
