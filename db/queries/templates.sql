-- What templates can say of a job.

-- name: job, reads
select tags, metadata::text as metadata, last_outcome, last_finished_at, consecutive_failures, runs,
    run_at, cron, timezone, every_seconds::float8 as every_seconds, dst_gap, dst_overlap, starts_at, ends_at,
    jitter_seconds::float8 as jitter_seconds, jitter_percent::float8 as jitter_percent
from tocsin.jobs
where id = :id::uuid;
