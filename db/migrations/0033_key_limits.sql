-- The limits of API keys: see docs/security.md.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (33);

alter table tocsin.api_keys
    add column max_jobs integer,
    add column min_interval_seconds numeric,
    add column allowed_hosts text[],
    add column default_ends_in_seconds numeric;
alter table tocsin.api_keys add constraint api_keys_limits_within_range check (
    max_jobs between 1 and 1000000
    and min_interval_seconds between 0.1 and 157680000 and scale(min_interval_seconds) <= 100
    and cardinality(allowed_hosts) between 1 and 100 and array_ndims(allowed_hosts) = 1
    and array_position(allowed_hosts, null) is null and length(array_to_string(allowed_hosts, ',')) <= 30000
    and default_ends_in_seconds between 1 and 3155760000 and scale(default_ends_in_seconds) <= 100);
alter table tocsin.api_keys add constraint api_keys_limits_are_kept check (
    num_nonnulls(max_jobs, min_interval_seconds, allowed_hosts, default_ends_in_seconds) = 0
    or not 'admin' = any (scopes));
-- Those of the key that asked, to which the edits of the action keep. There are few actions, as old ones are pruned.
alter table tocsin.bulk_actions add column limits jsonb;
alter table tocsin.bulk_actions add constraint bulk_actions_limits_within_range check (jsonb_typeof(limits) = 'object' and tocsin.fits(limits, 65536));

-- The jobs that were made with keys that have max_jobs. Of a job that is gone the row may stay: when there seem to be
-- too many, those are removed first, so that no deletion of jobs has to look here.
create table tocsin.key_jobs (
    key_id uuid not null references tocsin.api_keys on delete cascade,
    job_id uuid not null,

    primary key (key_id, job_id)
);
commit;
