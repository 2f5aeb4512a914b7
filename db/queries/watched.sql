-- Jobs whose executions are lines of the log: see app/telemetry/execution_lines.py.

-- name: choose, reads
-- Of these jobs the ones that have one of the tags, names or ids (as text).
select id from tocsin.jobs
where id = any(:ids::uuid[])
  and (tags && :tags::text[] or name = any(:names::text[]) or id::text = any(:names::text[]));
