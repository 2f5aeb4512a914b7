-- Answers that are kept for requests which may come twice: see docs/adr/0116-idempotency-keys.md.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (29);

-- The answers to requests that came with an Idempotency-Key, kept for a day. A row is written in the transaction of
-- what its request changed. Of the client and its key, and of what was asked, only digests are kept.
create table tocsin.idempotency_keys (
    id bytea primary key,
    request bytea not null,
    owner text not null,  -- whose limits it counts in: the prefix of an API key, or loopback
    at timestamptz not null default clock_timestamp(),
    status integer not null default 0,
    headers jsonb not null default '{}',
    answer bytea not null default '',  -- compressed, and encrypted where it has a secret
    bytes integer not null default 0,

    constraint idempotency_keys_within_range check (
        at >= '2000-01-01 00:00Z' and at <= '2200-01-01 00:00Z'
        and octet_length(id) = 32 and octet_length(request) = 32 and octet_length(owner) <= 100
        and tocsin.fits(headers, 16384) and octet_length(answer) <= 8388608)
);
create index idempotency_keys_owner on tocsin.idempotency_keys (owner, at) include (bytes);
create index idempotency_keys_at on tocsin.idempotency_keys (at);

commit;
