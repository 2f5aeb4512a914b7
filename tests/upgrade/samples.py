"""Migrations that no release has, one of each sort, for upgrades from the working tree itself."""

ADDING = {
    "sample_column": """
begin;
insert into tocsin.schema_migrations (version) values ({number});
alter table tocsin.jobs add column sample_note text not null default 'none';
alter table tocsin.executions add column sample_bytes bigint;
commit;
""",
    "sample_index": """
-- No transaction, as none can build an index concurrently. Begins anew after a failure.
drop index concurrently if exists tocsin.jobs_sample_note;
create index concurrently jobs_sample_note on tocsin.jobs (sample_note)
    where sample_note <> 'none';
insert into tocsin.schema_migrations (version) values ({number});
""",
    "sample_default": """
begin;
insert into tocsin.schema_migrations (version) values ({number});
alter table tocsin.jobs alter column sample_note set default 'of a sample';
commit;
""",
}
"""What instances of both versions can run beside: columns, one with a default, and an index."""

BREAKING = ADDING | {
    "sample_removal": """
begin;
insert into tocsin.schema_migrations (version, breaking) values ({number}, true);
alter table tocsin.jobs drop column sample_note;
commit;
"""
}
"""The last of these says that instances of the older version must not run."""
