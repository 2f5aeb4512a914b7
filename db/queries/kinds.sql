-- Which kinds of jobs there are instances for.

-- name: tell
-- With what the audit log keeps of their targets.
insert into tocsin.kinds (kind, shown) select key, value from jsonb_each(:shown::jsonb)
on conflict (kind) do update set told_at = clock_timestamp(), shown = excluded.shown;

-- name: nobodys
-- Jobs that wait for an instance of a kind that none has, by kind, with the newest few of them; of each kind at most
-- :most are counted.
select kinds.kind, count(*) as jobs, (array_agg(waiting.called))[1:3] as newest
from tocsin.unsupported_kinds() as kinds (kind)
cross join lateral (
    select coalesce(j.name, j.id::text) as called
    from tocsin.jobs j
    where j.kind = kinds.kind and j.kind not in ('http', 'amqp') and j.run_of is null
      and j.plan_error is null and tocsin.state(j) = 'invalid'
    order by j.id desc
    limit :most::bigint
) as waiting
group by kinds.kind
order by kinds.kind;
