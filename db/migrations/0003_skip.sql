-- Runs that a person skips: see tocsin.skip.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (3);

alter table tocsin.jobs add column skip_runs integer, add column skip_until timestamptz;

create trigger jobs_210_skip_sound before update of skip_runs, skip_until on tocsin.jobs
    for each row when (num_nonnulls(new.skip_runs, new.skip_until) > 0)
    execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_210_skip_sound;

commit;
