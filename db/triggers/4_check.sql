-- db/triggers/4_check.sql: refuses what a person writes, where a constraint cannot or would show the row.

-- An IANA name that this server knows. Not pg_timezone_names: that view reads a directory tree. The
-- setting takes a name in any case, as no instance does, and turns into the name as it is spelled.
create or replace function tocsin.check_timezone(timezone text)
returns void language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    spelling text;
    hint text := 'Write an IANA name such as UTC, Europe/Paris or America/New_York.';
begin
    if timezone !~ '^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$' then
        raise invalid_parameter_value;
    end if;
    spelling := set_config('timezone', timezone, true);  -- until the end of this function
    -- Postgres also takes what POSIX does, such as UTC+2, whose sign is the other way round, and files
    -- that stand beside the zones.
    if spelling ~ '[0-9]' and spelling !~ '^(Etc/)?GMT[+-]?0$|^Etc/GMT[+-][0-9]+$|^(EST5EDT|CST6CDT|MST7MDT|PST8PDT)$'
        or spelling ~ '^(posix|right)/|^(localtime|posixrules|Factory)$' then
        raise invalid_parameter_value;
    end if;
    if spelling <> timezone then
        hint := format('Did you mean %s?', spelling);
        raise invalid_parameter_value;
    end if;
exception when invalid_parameter_value then
    perform tocsin.refuse('timezone', format('%L is not known to Postgres', timezone), hint);
end $$;

-- Refuses a row that lacks what it needs, by the first such column. The constraints would do so too, but
-- then Postgres shows the whole row, with its target, in the error and in the server's log.
create or replace function tocsin.refuse_nulls(job tocsin.jobs)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    missing constant text := (
        select attname from pg_attribute
        where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and attnotnull and attname <> 'timezone'
          and to_jsonb(job) -> attname = 'null'
        order by attnum limit 1);
begin
    perform tocsin.refuse(missing, 'is missing', case missing
        when 'kind' then 'Write which executor runs the job: http or amqp.'
        when 'target' then 'Write a JSON object, such as {"url": "https://example.com/"} of the kind http.'
        else 'Leave the column out to have its default.' end);
end $$;

-- The servers that a target is sent to, and gets tokens from: scheme, host and port as they are written, in lower case.
create or replace function tocsin.servers(target jsonb)
returns text[] language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(coalesce(regexp_replace(lower(substring(at.url from '^[^/?#]*//[^/?#]*')), '//.*@', '//'), '')), '{}')
    from (values (target ->> 'url'), (target #>> '{auth,token_url}')) as at (url)
    where at.url is not null;
$$;

-- Whether an edit of a target takes encrypted secrets along to a server that they were not given for, or to one that is not
-- verified any more. The API asks for such secrets anew; who edits the row in SQL may not know them either.
create or replace function tocsin.takes_secrets_elsewhere(before jsonb, target jsonb)
returns boolean language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (  -- without the last character, of which base64 leaves some bits to everybody's choice
        select found.token[1] from regexp_matches(
            case when elsewhere.so then target else sent.target end::text, '(encrypted[.]v[0-9]+[.][A-Za-z0-9_.-]+)[A-Za-z0-9_-]=*', 'g') as found (token)
        intersect
        select found.token[1] from regexp_matches(before::text, '(encrypted[.]v[0-9]+[.][A-Za-z0-9_.-]+)[A-Za-z0-9_-]=*', 'g') as found (token))
    from (values (not tocsin.servers(target) <@ tocsin.servers(before))) as elsewhere (so)
    cross join lateral (
        -- The key of a certificate, and that of signatures, are not sent.
        select target - 'client_key' - case when target #>> '{auth,type}' = 'signature' then 'auth' else '' end as target) as sent
    where elsewhere.so or exists (
        select from (values ('{verify_tls}'::text[]), ('{starttls}'), ('{auth,verify_tls}')) as field (path)
        where target #> field.path = 'false' and before #> field.path is distinct from 'false')
      or exists (
        select from (values ('{ca}'::text[]), ('{auth,ca}')) as field (path)
        where target #>> field.path <> coalesce(before #>> field.path, ''));
$$;
