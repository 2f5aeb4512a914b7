-- What is paused, who paused it and until when: see db/triggers/8_pauses.sql.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (10);

alter table tocsin.jobs add column resumed_at timestamptz, add column resume_missed text;

create or replace trigger jobs_210_skip_sound before update of skip_runs, skip_until, resumed_at, resume_missed on tocsin.jobs
    for each row when (num_nonnulls(new.skip_runs, new.skip_until, new.resumed_at, new.resume_missed) > 0)
    execute function tocsin.refuse_unsound();
alter table tocsin.jobs enable always trigger jobs_210_skip_sound;

-- What is paused: one job, all that have a tag, or (neither) everything. See db/triggers/8_pauses.sql.
create table tocsin.pauses (
    id uuid primary key default tocsin.uuid7(),
    job_id uuid,
    held_by uuid,  -- of a job: the pause of a tag that pauses it; null: it is paused by itself
    tag text collate "C",
    reason text,
    until timestamptz,
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null default tocsin.actor(),
    ends_at timestamptz,  -- until; later if it could not be ended then
    scope smallint generated always as (case when job_id is not null then 2 when tag is not null then 1 else 0 end) stored,

    constraint pauses_one_scope check (num_nonnulls(job_id, tag) <= 1 and (held_by is null or job_id is not null)),
    constraint pauses_tag_shape check (tag <> '' and tag !~ ',' and length(tag) <= 200),
    constraint pauses_within_range check (
        least(until, paused_at, ends_at) >= '2000-01-01 00:00Z' and greatest(until, paused_at, ends_at) <= '2200-01-02 00:00Z'
        and length(reason) <= 1000 and length(paused_by) <= 2000)
);
create unique index pauses_job on tocsin.pauses (job_id) where job_id is not null;
create unique index pauses_tag on tocsin.pauses (tag) where tag is not null;
create unique index pauses_all on tocsin.pauses ((true)) where job_id is null and tag is null;
create index pauses_held on tocsin.pauses (held_by) where held_by is not null;
-- Each look reads the first: whether everything or a tag is paused, and else which pause of a job ends first.
create index pauses_order on tocsin.pauses (scope, ends_at);
create index pauses_ends on tocsin.pauses (ends_at) where ends_at is not null;
grant select on tocsin.pauses to public;
alter table tocsin.audit_log drop constraint audit_log_entity_known;
alter table tocsin.audit_log add constraint audit_log_entity_known check (entity in ('job', 'key', 'secret', 'flow', 'bulk', 'pause')) not valid;

commit;
