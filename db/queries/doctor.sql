-- What `tocsin doctor` asks. Each answer is a number or a word that app/cli/doctor.py judges.

-- name: vitals
-- All of it at once; every part is an index probe, a catalogue or a view of the present.
select
    clock_timestamp() as database_now,
    current_setting('server_version') as server_version,
    pg_is_in_recovery() as standby,
    current_setting('synchronous_commit') as synchronous_commit,
    pg_notification_queue_usage()::float8 as notification_queue_usage,
    (select count(*) from pg_stat_activity
     where datname = current_database() and application_name like 'tocsin scheduler %') as instances,
    (select coalesce(extract(epoch from max(now() - xact_start)), 0)::float8 from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()
       and backend_type = 'client backend') as longest_transaction_seconds,
    (select coalesce(extract(epoch from now() - min(greatest(next_run, locked_until))), 0)::float8
     from tocsin.jobs
     where next_run is not null and paused_at is null and plan_error is null
       and greatest(next_run, locked_until) < now()) as overdue_seconds,
    (select coalesce(extract(epoch from now() - min(locked_until)), 0)::float8 from tocsin.jobs
     where next_run is not null and paused_at is null and plan_error is null
       and greatest(next_run, locked_until) < now() and locked_until is not null) as stuck_lease_seconds,
    (select coalesce(extract(epoch from now() - min(updated_at)), 0)::float8 from tocsin.jobs
     where planned_at is null and plan_error is null) as unplanned_seconds,
    (select count(*) from generate_series(0, 2) as ahead
     where to_regclass('tocsin.executions_'
         || to_char((now() at time zone 'UTC')::date + ahead, 'YYYYMMDD')) is null) as missing_partitions,
    (select count(*) from pg_trigger
     where tgrelid = 'tocsin.jobs'::regclass and tgenabled in ('O', 'A')
       and tgname in ('jobs_100_plan_insert', 'jobs_900_ring_update')) as ringing_triggers;
