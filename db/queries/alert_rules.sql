-- Alert rules, channels and alerts, as people write and read them. acting: see jobs.sql.

-- part: rule
r.id, r.name, r.events, r.job_id, j.name as job_name, r.tag, r.after, r.seconds::float8 as seconds, r.reasons, r.channels, r.created_at, r.updated_at,
    (select count(*) from tocsin.alert_states s where s.rule_id = r.id and s.told_at is not null) as told_jobs
from tocsin.alert_rules r left join tocsin.jobs j on j.id = r.job_id

-- name: put
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
insert into tocsin.alert_rules as r (name, events, job_id, tag, after, seconds, reasons, channels)
select case when acting.actor is not null then :name::text end, :events::text[], :job_id::uuid, :tag::text, :after::integer,
    :seconds::float8::numeric, :reasons::text[], :channels::text[]
from acting
on conflict (name) do update
set events = excluded.events, job_id = excluded.job_id, tag = excluded.tag, after = excluded.after,
    seconds = excluded.seconds,
    reasons = excluded.reasons, channels = excluded.channels
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
insert into tocsin.alert_channels as c (name, preset, target)
select case when acting.actor is not null then :name::text end, :preset::text, :target::jsonb
from acting
on conflict (name) do update set preset = excluded.preset, target = excluded.target
returning c.xmax = 0 as is_new;

-- name: find_channel
select name, preset, target::text as target, created_at, updated_at from tocsin.alert_channels where name = :name::text;

-- name: page_channels
select name, preset, target::text as target, created_at, updated_at from tocsin.alert_channels
where (:after::text is null or name > :after::text) order by name limit :limit::bigint;

-- name: delete_channel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
delete from tocsin.alert_channels c using acting where acting.actor is not null and c.name = :name::text returning c.id;

-- name: test_channel
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select asked.id from acting, tocsin.test_channel(case when acting.actor is not null then :name::text end) as asked;

-- part: alert
select a.id, a.at, a.rule, a.event, a.job_id, a.job, a.many, a.since, a.execution_id, a.why, a.channel,
    a.delivery_id, a.delivered_at, a.failed_at, a.error
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
