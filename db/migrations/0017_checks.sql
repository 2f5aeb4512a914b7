-- What comes in for jobs of the kind check, which expect pings: see db/triggers/8_checks.sql.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (17);

-- The address and the latest pings of each job of the kind check that has an address. See db/triggers/8_checks.sql.
create table tocsin.checks (
    job_id uuid primary key,
    token_digest bytea,          -- SHA-256 of the token in the address; null: it was revoked
    token_made_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,      -- the latest ping that said a run begins
    ended_at timestamptz,        -- the latest ping that said a run has ended, well or not
    log text,                    -- what pings said since started_at
    minute_at timestamptz,       -- begins the minute in which pings are counted
    pings integer not null default 0,

    constraint checks_within_range check (
        least(token_made_at, started_at, ended_at, minute_at) >= '2000-01-01 00:00Z'
        and greatest(token_made_at, started_at, ended_at, minute_at) <= '2200-01-01 00:00Z'
        and octet_length(token_digest) = 32 and length(log) <= 20000)
) with (fillfactor = 50);
create unique index checks_token on tocsin.checks (token_digest) where token_digest is not null;

commit;
