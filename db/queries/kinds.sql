-- Which kinds of jobs there are instances for.

-- name: tell
-- With what the audit log keeps of their targets.
insert into tocsin.kinds (kind, shown) select key, value from jsonb_each(:shown::jsonb)
on conflict (kind) do update set told_at = clock_timestamp(), shown = excluded.shown;

-- name: nobodys
-- Jobs that wait for an instance of a kind that none has, by kind, with the newest few of them. A step
-- from kind to kind along jobs_other_kinds; of each at most :most are counted.
with recursive kinds as (
    select min(kind) as kind from tocsin.jobs where kind not in ('http', 'amqp')
    union all
    select (select min(kind) from tocsin.jobs where kind not in ('http', 'amqp') and kind > kinds.kind)
    from kinds where kinds.kind is not null
)
select kinds.kind, count(*) as jobs, (array_agg(waiting.called))[1:3] as newest
from kinds
cross join lateral (
    select coalesce(j.name, j.id::text) as called
    from tocsin.jobs j
    where j.kind = kinds.kind and j.kind not in ('http', 'amqp') and j.run_of is null
      and j.plan_error is null and tocsin.state(j) = 'invalid'
    order by j.id desc
    limit :most::bigint
) as waiting
where not tocsin.has_kind(kinds.kind)
group by kinds.kind
order by kinds.kind;
