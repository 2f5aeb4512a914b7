-- What the stream of events reads: executions in the order of their numbers, and those that came late.

-- name: place
-- Where a stream begins that has no place yet: behind the last number that was drawn.
select coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0) as upto;

-- part: told
e.id, e.job_id, j.name as job_name, left(e.kind, 1000) as kind, e.scheduled_for, e.attempt, e.outcome,
    left(e.reason, 1000) as reason, e.started_at, e.finished_at, left(e.instance, 1000) as instance, e.status_code,
    e.missed_runs, extract(epoch from e.started_at - e.scheduled_for)::float8 as lag_seconds,
    extract(epoch from e.finished_at - e.started_at)::float8 as duration_seconds

-- name: after
-- The executions beyond a number, and those before it that were under way at the last look, without those that were
-- told; also, in the first row, the last number that was drawn and those under way now. An execution is numbered when
-- it is claimed and recorded when it ends.
with under_way as materialized (
    select coalesce(array_agg(execution_id), '{}') as ids
    from (
        select execution_id from tocsin.jobs where locked_until is not null and execution_id is not null limit 10000
    ) as leased
), place as materialized (
    select coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0) as upto
), found as materialized (
    select x.* from (
        (
            select * from tocsin.executions
            where id > :after::bigint and not (id = any (:told::bigint[]))
            order by id limit :limit::bigint
        )
        union all
        select * from tocsin.executions
        where id = any (array(select unnest(:unended::bigint[]) except select unnest(under_way.ids) from under_way))
            and not (id = any (:told::bigint[]))
    ) as x
    order by x.id limit :limit::bigint
)
select place.upto, case when e.id is not distinct from (select min(id) from found) then under_way.ids end as under_way,
    {told}
from place cross join under_way left join found e on true
left join lateral (select name from tocsin.jobs where id = e.job_id limit 1) j on true
order by e.id;

-- name: missed_since
-- What a stream missed that comes back: what lies beyond a number, and what ended since an instant among the numbers
-- not far before it.
select {told}
from (
    (select * from tocsin.executions where id > :after::bigint order by id limit :limit::bigint)
    union
    (
        select * from (
            select * from tocsin.executions
            where id <= :after::bigint and id > :after::bigint - :window::bigint
            order by id desc limit :window::bigint
        ) as before
        where finished_at >= :since::timestamptz limit :limit::bigint
    )
) e left join lateral (select name from tocsin.jobs where id = e.job_id limit 1) j on true
order by e.id
limit :limit::bigint;
