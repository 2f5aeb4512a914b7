-- Alert rules, channels and alerts, as people write and read them. acting: see jobs.sql.

-- part: rule
r.id, r.name, r.events, r.job_id, j.name as job_name, r.tag, r.after, r.seconds::float8 as seconds, r.factor::float8 as factor,
    r.more_than, r.remind_seconds::float8 as remind_seconds, r.reasons, r.channels, r.created_at, r.updated_at,
    (select count(*) from tocsin.alert_states s where s.rule_id = r.id and s.told_at is not null) as told_jobs
from tocsin.alert_rules r left join tocsin.jobs j on j.id = r.job_id

-- name: put
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
insert into tocsin.alert_rules as r (
    name, events, job_id, tag, after, seconds, factor, more_than, remind_seconds, reasons, channels)
select case when acting.actor is not null then :name::text end, :events::text[], :job_id::uuid, :tag::text, :after::integer,
    :seconds::float8::numeric, :factor::float8::numeric, :more_than::integer, :remind_seconds::float8::numeric, :reasons::text[], :channels::text[]
from acting
on conflict (name) do update
set events = excluded.events, job_id = excluded.job_id, tag = excluded.tag, after = excluded.after,
    seconds = excluded.seconds, factor = excluded.factor, more_than = excluded.more_than,
    remind_seconds = excluded.remind_seconds, reasons = excluded.reasons, channels = excluded.channels
returning r.xmax = 0 as is_new;

-- name: find
select {rule} where r.name = :name::text;

-- name: page
select {rule} where (:after::text is null or r.name > :after::text) order by r.name limit :limit::bigint;

-- name: delete
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
delete from tocsin.alert_rules r using acting where acting.actor is not null and r.name = :name::text returning r.id;

-- name: put_channel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
insert into tocsin.alert_channels as c (name, preset, target, fallback)
select case when acting.actor is not null then :name::text end, :preset::text, :target::jsonb, :fallback::text
from acting
on conflict (name) do update set preset = excluded.preset, target = excluded.target, fallback = excluded.fallback
returning c.xmax = 0 as is_new;

-- part: channel
c.name, c.preset, c.target::text as target, c.fallback, coalesce(failed.many, 0) as failed, failed.last_failed_at,
    failed.last_error, c.created_at, c.updated_at
from tocsin.alert_channels c cross join lateral (
    select count(*) as many, max(f.failed_at) as last_failed_at,
        (array_agg(f.error order by f.failed_at desc))[1] as last_error
    from (
        select a.failed_at, a.error from tocsin.alerts a
        where a.channel = c.name and a.failed_at > now() - interval '7 days'
        order by a.failed_at desc limit 1000
    ) as f
) as failed

-- name: find_channel
select {channel} where c.name = :name::text;

-- name: page_channels
select {channel}
where (:after::text is null or c.name > :after::text) order by c.name limit :limit::bigint;

-- name: delete_channel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
delete from tocsin.alert_channels c using acting where acting.actor is not null and c.name = :name::text returning c.id;

-- name: test_channel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select asked.id from acting, tocsin.test_channel(case when acting.actor is not null then :name::text end) as asked;

-- part: alert
select a.id, a.at, a.rule, a.event, a.of_event, a.is_reminder, a.job_id, a.job, a.many, a.since, a.execution_id, a.why,
    a.channel, a.instead_of, a.delivery_id, a.delivered_at, a.failed_at, a.error
from tocsin.alerts a

-- name: find_alert
{alert} where a.id = :id::uuid;

-- name: page_alerts
{alert}
where (:before::uuid is null or a.id < :before::uuid)
  and (:job_id::uuid is null or a.job_id = :job_id::uuid)
  and (:rule::text is null or a.rule = :rule::text)
order by a.id desc
limit :limit::bigint;
