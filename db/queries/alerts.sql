-- What instances ask and write to tell of alerts: see db/triggers/8_alerts.sql.

-- name: has_work, reads
-- Whether there is a rule, and whether something is to be delivered, and what the clock shows.
select clock_timestamp() as now, exists (select from tocsin.alert_rules) as has_rules,
    exists (
        select from tocsin.alerts
        where channel is not null and delivered_at is null and failed_at is null) as has_open;

-- name: begin
-- Locks the cursor for a transaction that waits for no other lock for longer than this; no row: another instance has it,
-- or there is no rule. limit: how long its statements may take. is_over: no transaction goes on that may have drawn the number of an execution up to mark_id; one
-- that goes on for longer than 30 seconds is none of Tocsin's. latest_id: the last number drawn so far, read before the
-- snapshot that mark writes down. What follows has indexes, whatever statistics say of the tables.
with settings as materialized (
    select set_config('lock_timeout', '50ms', true), set_config('statement_timeout', :limit::text, true),
        set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
        set_config('enable_mergejoin', 'off', true)
)
select c.after_id, c.pending, c.mark_id, c.marked_at, clock_timestamp() as now,
    c.mark_id is not null and (
        c.mark_xid <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        or c.mark_xid > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        or not (c.marked_at between clock_timestamp() - interval '30 seconds' and clock_timestamp())) as is_over,
    coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0) as latest_id
from tocsin.alert_cursor c, settings
where c.one
for update of c skip locked;

-- name: move
-- Moves the cursor on, and sets a mark where none is.
update tocsin.alert_cursor
set after_id = :after_id::bigint, pending = :pending::bigint[],
    mark_id = case when :is_over::boolean then :mark_id::bigint else mark_id end,
    mark_xid = case when :is_over::boolean then pg_snapshot_xmax(pg_current_snapshot())::text::bigint else mark_xid end,
    marked_at = case when :is_over::boolean then :marked_at::timestamptz else marked_at end
where one;

-- name: rules, reads
select id, name, events, job_id, tag, after, reasons, channels, begun_at, seconds::float8 as seconds, factor::float8 as factor,
    remind_seconds is not null as reminds
from tocsin.alert_rules order by id;

-- name: happened, reads
-- The executions that did not succeed, in the order of their numbers, of those after the cursor up to a number, and of
-- those that were under way then and are not now. One row without id tells of those under way now.
with under_way as materialized (
    select coalesce(array_agg(execution_id), '{}') as ids
    from tocsin.jobs where locked_until is not null and execution_id is not null
), found as (
    (
        select x from tocsin.executions x
        where x.outcome <> 'succeeded' and x.id > :after_id::bigint and x.id <= :upto::bigint
        order by x.id limit :limit::bigint
    )
    union all
    select x from tocsin.executions x
    where x.outcome <> 'succeeded'
      and x.id = any (array(select unnest(:pending::bigint[]) except select unnest(under_way.ids) from under_way))
)
select (f.x).id, (f.x).job_id, (f.x).outcome, left((f.x).reason, 200) as reason, (f.x).attempt, (f.x).finished_at,
    left((f.x).error, 1000) as error, (f.x).status_code, (f.x).scheduled_for, (f.x).missed_runs,
    j.name as job, coalesce(j.tags, '{}') as tags, j.max_attempts,
    tocsin.is_dead_letter(f.x) as is_given_up, before.outcome as before,
    j.paused_at is not null or exists (select from tocsin.pauses where scope = 0)
        or tocsin.is_maintained(coalesce(j.tags, '{}'), (f.x).finished_at)
        or exists (select from tocsin.alerts a where a.delivery_id = (f.x).job_id) as is_silent,
    null::bigint[] as under_way
from found f
left join tocsin.jobs j on j.id = (f.x).job_id
left join lateral (
    select p.outcome from tocsin.executions p
    where p.job_id = (f.x).job_id and p.id < (f.x).id order by p.id desc limit 1
) before on true
union all
select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, ids from under_way
order by 1 nulls first;

-- name: took_long, reads
-- The executions that succeeded and took longer than the shortest that any rule calls slow, in the order of their numbers:
-- of those after the cursor up to a number, and of those that were under way then and are not now. One row without id says
-- up to which number they were read, and tells of those under way now. usual: see tocsin.usual_seconds. well_id: the latest
-- before it that succeeded.
with reached as materialized (
    select least(:upto::bigint, :after_id::bigint + 100000) as id
), under_way as materialized (
    select coalesce(array_agg(execution_id), '{}') as ids
    from tocsin.jobs where locked_until is not null and execution_id is not null
), found as materialized (
    (
        select x.id, x.job_id, x.started_at, x.finished_at from tocsin.executions x
        where x.outcome = 'succeeded' and x.id > :after_id::bigint and x.id <= (select id from reached)
          and x.finished_at - x.started_at > :seconds::float8 * interval '1 second'
        order by x.id limit :limit::bigint
    )
    union all
    select x.id, x.job_id, x.started_at, x.finished_at from tocsin.executions x
    where x.outcome = 'succeeded' and x.finished_at - x.started_at > :seconds::float8 * interval '1 second'
      and x.id = any (array(select unnest(:pending::bigint[]) except select unnest(under_way.ids) from under_way))
)
select f.id, f.job_id, f.finished_at, extract(epoch from f.finished_at - f.started_at)::float8 as seconds,
    tocsin.usual_seconds(f.job_id, f.id) as usual,
    (select x.id from (
        select p.id, p.outcome from tocsin.executions p where p.job_id = f.job_id and p.id < f.id order by p.id desc limit 100
    ) as x where x.outcome = 'succeeded' order by x.id desc limit 1) as well_id,
    j.name as job, j.tags,
    j.paused_at is not null or exists (select from tocsin.pauses where scope = 0)
        or tocsin.is_maintained(j.tags, f.finished_at)
        or exists (select from tocsin.alerts a where a.delivery_id = f.job_id) as is_silent,
    null::bigint as reached, null::bigint[] as under_way
from found f join tocsin.jobs j on j.id = f.job_id
union all
select null, null, null, null, null, null, null, null, null, reached.id, under_way.ids from reached, under_way
order by 1 nulls first;

-- part: maintained
-- The tags of jobs that are under maintenance now; is_all: every job is. A calendar is read once, however many windows it has.
maintained as materialized (
    select coalesce(bool_or(w.tag is null), false) as is_all, coalesce(array_agg(w.tag) filter (where w.tag is not null), '{}') as tags
    from tocsin.maintenance w
    where case when w.calendar is null then tstzrange(w.starts_at, w.ends_at) @> now() else w.calendar in (
        select c.name from tocsin.calendars c
        where c.name in (select v.calendar from tocsin.maintenance v) and c.times @> now()) end
)

-- name: running, reads
-- The executions under way for longer than so many seconds, as took_long tells of those that have ended: of the jobs that
-- these rules are about, and which they have not counted yet; so many of them behind one, as each is compared with a hundred.
with {maintained}, r as materialized (
    select r.id, r.job_id, r.tag, m.tags as maintained
    from maintained m cross join tocsin.alert_rules r
    where not m.is_all and r.id = any (:rule_ids::uuid[]) and not exists (select from tocsin.pauses where scope = 0)
)
select f.id, f.job_id, now() as finished_at, f.seconds, tocsin.usual_seconds(f.job_id, f.id) as usual,
    (select x.id from (
        select p.id, p.outcome from tocsin.executions p where p.job_id = f.job_id and p.id < f.id order by p.id desc limit 100
    ) as x where x.outcome = 'succeeded' order by x.id desc limit 1) as well_id,
    f.job, f.tags
from (
    select l.execution_id as id, j.id as job_id, extract(epoch from now() - l.claimed_at)::float8 as seconds, j.name as job, j.tags
    from tocsin.jobs l join tocsin.jobs j on j.id = coalesce(l.run_of, l.id)
    where l.execution_id > :after::bigint and l.locked_until is not null and l.locked_until > now() and l.execution_id is not null
      and l.claimed_at < now() - :seconds::float8 * interval '1 second' and j.paused_at is null
      and exists (
          select from r where (r.job_id is null or j.id = r.job_id) and (r.tag is null or j.tags @> array[r.tag])
            and not j.tags && r.maintained
            and not exists (
                select from tocsin.alert_states s
                where s.rule_id = r.id and s.event = 'slow' and s.job_id = j.id
                  and (l.execution_id <= coalesce(s.counted_from, s.execution_id) or l.execution_id = any (s.counted))))
      and not exists (select from tocsin.alerts a where a.delivery_id = j.id)
    order by l.execution_id
    limit :limit::bigint
) as f
order by f.id;

-- name: states, reads
select rule_id, event, job_id, many, execution_id, since, last_at, told_at, reminded_at, counted, counted_from
from tocsin.alert_states where job_id = any (:job_ids::uuid[]);

-- part: of_rule
j.run_of is null and (r.job_id is null or j.id = r.job_id) and (r.tag is null or j.tags @> array[r.tag])
  and not j.tags && r.maintained
  and not exists (
      select from tocsin.alert_states s where s.rule_id = r.id and s.event = r.event and s.job_id = j.id)

-- part: no_delivery
not exists (select from tocsin.alerts a where a.delivery_id = j.id)

-- part: too_late
greatest(l.next_run, l.locked_until) <= now() - r.seconds::float8 * interval '1 second'

-- part: unsuccessful
select r.id, r.event, j.id, j.name, j.tags, 'no run has succeeded for ' || trim_scale(r.seconds) || ' seconds'

-- part: too_long
r.event = 'not_succeeded' and (j.cron is not null or j.every_seconds is not null)
    and j.next_run is not null and j.paused_at is null
    and greatest(j.created_at, j.edited_at) < now() - r.seconds::float8 * interval '1 second'
    and (j.last_outcome is distinct from 'succeeded'
        or j.last_finished_at < now() - r.seconds::float8 * interval '1 second')
    and not exists (
        select from tocsin.executions x
        where x.job_id = j.id and x.outcome = 'succeeded'
          and x.finished_at >= now() - r.seconds::float8 * interval '1 second')

-- name: newly
-- The jobs that stand as one of some rules watches for, of which it does not know yet: up to so many for each rule, so that
-- one which is about many holds up no other. What is paused is not told of. A job is late as well by a run beside its plan, and
-- is listed once for each that is.
with {maintained}, r as materialized (
    select r.id, r.job_id, r.tag, r.seconds, watched.event, m.tags as maintained
    from maintained m cross join tocsin.alert_rules r cross join unnest(r.events) as watched (event)
    where not m.is_all and r.id = any (:rule_ids::uuid[]) and (watched.event = 'invalid'
       or (watched.event in ('late', 'not_succeeded') and not exists (select from tocsin.pauses where scope = 0)))
)
(
    select r.id as rule_id, r.event, j.id as job_id, j.name as job, j.tags, left(j.plan_error, 1000) as why
    from r cross join lateral (
        select j.* from tocsin.jobs j
        where r.event = 'invalid' and tocsin.is_aside(j) and tocsin.aside_state(j) = 'invalid' and {of_rule} and {no_delivery}
        limit :limit::bigint
    ) as j
)
union all
(
    select r.id, r.event, j.id, j.name, j.tags, 'due since ' || tocsin.told_at(j.due)
    from r cross join lateral (
        select j.id, j.name, j.tags, l.next_run as due
        from tocsin.jobs l join tocsin.jobs j on j.id = coalesce(l.run_of, l.id)
        where r.event = 'late' and tocsin.is_claimable(l) and {too_late} and {of_rule} and {no_delivery}
        order by greatest(l.next_run, l.locked_until)
        limit :limit::bigint
    ) as j
)
union all
(
    select r.id, r.event, j.id, j.name, j.tags, 'due since ' || tocsin.told_at(j.due)
    from r cross join lateral (
        select j.id, j.name, j.tags, l.next_run as due
        from tocsin.jobs l join tocsin.jobs j on j.id = coalesce(l.run_of, l.id)
        where r.event = 'late' and tocsin.is_flow_claimable(l) and {too_late} and {of_rule} and {no_delivery}
        order by greatest(l.next_run, l.locked_until)
        limit :limit::bigint
    ) as j
)
union all
(
    select r.id, r.event, j.id, j.name, j.tags, 'its ping has been due since ' || tocsin.told_at(j.scheduled_for)
    from r cross join lateral (
        select j.* from tocsin.jobs j
        where r.event = 'late' and j.kind = 'check' and j.kind not in ('http', 'amqp') and j.next_run > j.scheduled_for
          and j.scheduled_for <= now() - r.seconds::float8 * interval '1 second' and {of_rule}
          and tocsin.check_status(j) = 'late'
        limit :limit::bigint
    ) as j
)
union all
(
    {unsuccessful}
    from r join tocsin.jobs j on j.id = r.job_id and {too_long} and {of_rule}
    limit :limit::bigint
)
union all
(
    {unsuccessful}
    from r cross join lateral (
        select j.* from tocsin.jobs j
        where j.id = any (array(select k.id from tocsin.jobs k where k.tags @> array[r.tag] and k.tags <> '{}'))
          and {too_long} and {of_rule}
        limit :limit::bigint
    ) as j
);

-- name: of_rules
-- How rules stand that watch for what is about no single job: why each tells of it now (null: it does not), and its state.
-- No row while all jobs are paused, or under maintenance: what was told then stands as it is.
with {maintained}
select r.id as rule_id, watched.event, case watched.event when 'backlog' then tocsin.alert_backlog(r)
        else tocsin.alert_no_instance(coalesce(r.seconds, 60)::float8) end as why,
    s.many, s.execution_id, s.since, s.last_at, s.told_at, s.reminded_at, s.counted, s.counted_from
from maintained m cross join tocsin.alert_rules r cross join unnest(r.events) as watched (event)
left join tocsin.alert_states s
    on s.rule_id = r.id and s.event = watched.event and s.job_id = '00000000-0000-0000-0000-000000000000'
where not m.is_all and not exists (select from tocsin.pauses where scope = 0)
  and r.id = any (:rule_ids::uuid[]) and watched.event in ('backlog', 'no_instance');

-- name: reminders
-- What was told so long ago that its rule reminds of it, is not over, and has not been reminded of since; nothing of what is
-- under maintenance. A rule reminds of all at once: not if it did so within that time, but for what belongs to the same
-- message.
with {maintained}
select s.rule_id, s.event, s.job_id, s.many, s.execution_id, s.since, s.last_at, s.told_at, s.reminded_at, s.counted,
    s.counted_from, s.job,
    coalesce(case when s.is_general then (
            select a.why from tocsin.alerts a
            where a.job_id is null and a.rule_id = r.id and a.event = s.event order by a.id desc limit 1)
        else (
            select a.why from tocsin.alerts a
            where a.job_id = s.job_id and a.rule_id = r.id and a.event = s.event order by a.id desc limit 1)
        end, '') as why
from maintained m cross join tocsin.alert_rules r cross join lateral (
    select t.*, j.name as job, t.job_id = '00000000-0000-0000-0000-000000000000' as is_general
    from tocsin.alert_states t left join tocsin.jobs j on j.id = t.job_id
    where t.rule_id = r.id and t.event = any (r.events) and j.paused_at is null
      and coalesce(not j.tags && m.tags, true)
      and greatest(t.told_at, t.reminded_at) <= now() - r.remind_seconds::float8 * interval '1 second'
    limit :limit::bigint
) as s
where not m.is_all and r.id = any (:rule_ids::uuid[]) and r.remind_seconds is not null
  and not exists (select from tocsin.pauses where scope = 0)
  and not exists (
      select from tocsin.alert_states o
      where o.rule_id = r.id and o.reminded_at > now() - r.remind_seconds::float8 * interval '1 second'
        and o.reminded_at < now() - :seconds::float8 * interval '1 second');

-- name: over_until, reads
-- The key of the last of so many states from a key on; no row: there are fewer.
select s.rule_id, s.event, s.job_id from tocsin.alert_states s
where (s.rule_id, s.event, s.job_id) > (:rule_id::uuid, :event::text, :job_id::uuid)
order by s.rule_id, s.event, s.job_id
offset :limit::bigint - 1 limit 1;

-- name: over, reads
-- The states between two keys whose job is well again, as of an instant up to which all executions are judged; or gone, or
-- paused. Slow is none of which a run that was counted goes on.
select s.rule_id, s.event, s.job_id, s.many, s.execution_id, s.since, s.last_at, s.told_at, s.reminded_at, s.counted,
    s.counted_from,
    j.id is null or (j.paused_at is not null and s.event in ('late', 'not_succeeded')) as is_gone, j.name as job, j.tags
from tocsin.alert_states s
join tocsin.alert_rules r on r.id = s.rule_id
left join tocsin.jobs j on j.id = s.job_id
where (s.rule_id, s.event, s.job_id) > (:rule_id::uuid, :event::text, :job_id::uuid)
  and (s.rule_id, s.event, s.job_id) <= (:to_rule_id::uuid, :to_event::text, :to_job_id::uuid)
  and not s.event in ('backlog', 'no_instance') and (j.id is null or case s.event
    when 'slow' then j.last_finished_at > s.last_at and not exists (
        select from tocsin.jobs l
        where l.id = s.job_id and l.locked_until > now() and l.execution_id <= s.execution_id
        union all
        select from tocsin.jobs l
        where l.run_of = s.job_id and l.locked_until > now() and l.execution_id <= s.execution_id
    ) and exists (
        select from tocsin.executions x
        where x.job_id = s.job_id and x.id > s.execution_id and x.outcome = 'succeeded' and x.finished_at <= :horizon::timestamptz
          and (extract(epoch from x.finished_at - x.started_at) <= greatest(1, r.seconds)
              or (r.factor is not null and coalesce(extract(epoch from x.finished_at - x.started_at)
                  <= r.factor::float8 * tocsin.usual_seconds(x.job_id, x.id), true))))
    when 'invalid' then j.plan_error is null
    when 'late' then case when j.kind = 'check' then tocsin.check_status(j) in ('new', 'started', 'up', 'paused')
        else not exists (
            select from tocsin.jobs l
            where l.id = s.job_id and (tocsin.is_claimable(l) or tocsin.is_flow_claimable(l)) and {too_late}
            union all
            select from tocsin.jobs l
            where l.run_of = s.job_id and (tocsin.is_claimable(l) or tocsin.is_flow_claimable(l)) and {too_late}) end
    when 'not_succeeded' then j.paused_at is not null or j.next_run is null or exists (
        select from tocsin.executions x
        where x.job_id = s.job_id and x.outcome = 'succeeded' and x.finished_at > s.last_at)
    else j.last_finished_at > s.last_at and (s.event = 'missed' or j.last_outcome = 'succeeded') and exists (
        select from tocsin.executions x
        where x.job_id = s.job_id and x.finished_at > s.last_at and x.finished_at <= :horizon::timestamptz
          and case when s.event = 'missed' then x.outcome <> 'missed' else x.outcome = 'succeeded' end)
    end);

-- name: write_states
-- Writes how rules stand for jobs; of rules that are gone by now nothing.
insert into tocsin.alert_states as s (
    rule_id, event, job_id, many, execution_id, since, last_at, told_at, reminded_at, counted, counted_from)
select w.* from json_to_recordset(:states::json) as w (
    rule_id uuid, event text, job_id uuid, many integer, execution_id bigint,
    since timestamptz, last_at timestamptz, told_at timestamptz, reminded_at timestamptz, counted bigint[],
    counted_from bigint)
join tocsin.alert_rules r on r.id = w.rule_id
on conflict (rule_id, event, job_id) do update
set many = excluded.many, execution_id = excluded.execution_id, since = excluded.since, last_at = excluded.last_at,
    told_at = excluded.told_at, reminded_at = excluded.reminded_at, counted = excluded.counted,
    counted_from = excluded.counted_from;

-- name: delete_states
delete from tocsin.alert_states s
using json_to_recordset(:states::json) as w (rule_id uuid, event text, job_id uuid)
where s.rule_id = w.rule_id and s.event = w.event and s.job_id = w.job_id;

-- name: tell
-- What is over is told as well where it was told instead of another channel.
with w as materialized (
    select rule_id, rule, event, of_event, nullif(job_id, '00000000-0000-0000-0000-000000000000') as job_id, job, many, since,
        execution_id, why, channel, is_reminder
    from json_to_recordset(:alerts::json) as w (
        rule_id uuid, rule text, event text, of_event text, job_id uuid, job text, many integer, since timestamptz,
        execution_id bigint, why text, channel text, is_reminder boolean)
)
insert into tocsin.alerts (
    rule_id, rule, event, of_event, job_id, job, many, since, execution_id, why, channel, is_reminder)
select w.rule_id, w.rule, w.event, w.of_event, w.job_id, w.job, w.many, w.since, w.execution_id, w.why, w.channel, w.is_reminder
from w
union all
select distinct w.rule_id, w.rule, w.event, w.of_event, w.job_id, w.job, w.many, w.since, w.execution_id, w.why, t.channel, false
from w cross join lateral (
    select t.* from tocsin.alerts t where t.job_id = w.job_id
    union all
    select t.* from tocsin.alerts t where w.job_id is null and t.job_id is null
) as t
where w.event = 'recovered' and t.rule_id = w.rule_id and t.event = w.of_event and t.since = w.since
  and t.instead_of is not null
  and not exists (
      select from tocsin.alert_rules r where r.id = w.rule_id and t.channel = any (r.channels));

-- part: told_before
from (
        select t.* from tocsin.alerts t where t.job_id = a.job_id
        union all
        select t.* from tocsin.alerts t where a.job_id is null and t.job_id is null
    ) as t
    where t.rule_id = a.rule_id and t.channel = a.channel and t.since = a.since and t.event = a.of_event and t.id < a.id

-- name: by_index
-- What follows in the transaction goes by indexes: its statements are planned once, perhaps while there are no alerts yet.
select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('statement_timeout', '10s', true);

-- name: waiting
-- Alerts that have yet to be sent, with their channel. Those of a rule, an event and a channel that was told of the same
-- within the last seconds wait, to go out as one message. So does what is over, or reminds, until the delivery of what it is
-- about has ended. incident: what that opened; is_open: for others too, of which some are not over. known: the names by which
-- Alertmanager knows what it is about, as its rule or job may have another name by now.
with recent as materialized (
    select distinct b.rule_id, b.event, b.channel, b.is_reminder from tocsin.alerts b
    where b.sent_at > clock_timestamp() - :seconds::float8 * interval '1 second' and b.sent_at <= clock_timestamp()
      and b.rule_id is not null
), ready as materialized (
    select a.* from tocsin.alerts a
    where a.channel is not null and a.delivered_at is null and a.failed_at is null and a.sent_at is null
      and not exists (
          select from recent b
          where b.rule_id = a.rule_id and b.event = a.event and b.channel = a.channel and b.is_reminder = a.is_reminder)
      and not ((a.is_reminder or a.event = 'recovered')
          and exists (select {told_before} and coalesce(t.delivered_at, t.failed_at) is null))
    order by a.id
    limit :limit::bigint
    for update of a skip locked
), opened as materialized (
    select a.id, (select t.incident {told_before} and t.incident is not null order by t.id desc limit 1) as incident
    from ready a join tocsin.alert_channels c on c.name = a.channel
    where c.preset in ('pagerduty', 'opsgenie') and (a.is_reminder or a.event = 'recovered')
), known as materialized (
    select a.id, before.rule, before.job
    from ready a join tocsin.alert_channels c on c.name = a.channel and c.preset = 'alertmanager'
    cross join lateral (select t.rule, t.job {told_before} order by t.id limit 1) as before
    where a.is_reminder or a.event = 'recovered'
), going_on as materialized (
    select o.incident from (select distinct incident from opened where incident is not null) as o
    where exists (
        select from tocsin.alerts t join tocsin.alert_states s
            on s.rule_id = t.rule_id and s.event = t.event and s.since = t.since
            and s.job_id = coalesce(t.job_id, '00000000-0000-0000-0000-000000000000')
        where t.incident = o.incident and s.told_at is not null)
)
select a.id, a.at, a.rule_id, case when known.id is null then a.rule else known.rule end as rule, a.event,
    coalesce(a.of_event, a.event) as of_event, a.job_id, case when known.id is null then a.job else known.job end as job,
    a.many, a.since, a.execution_id, a.why, a.is_reminder, a.channel, c.preset, c.target::text as target,
    o.channel as instead_of, opened.incident,
    coalesce(opened.incident in (select incident from going_on), false) as is_open
from ready a left join tocsin.alert_channels c on c.name = a.channel
left join tocsin.alerts o on o.id = a.instead_of
left join opened on opened.id = a.id
left join known on known.id = a.id
order by a.id;

-- name: open_incident
update tocsin.alerts set incident = :incident::uuid where id = any (:ids::uuid[]);

-- name: deliver
with acting as materialized (
    select set_config('lock_timeout', '50ms', true), set_config('statement_timeout', '10s', true),
        set_config('tocsin.actor', 'alerts', true)
)
select tocsin.deliver_message(:ids::uuid[], :kind::text, :target::jsonb, :metadata::jsonb) from acting;

-- name: settle
-- Alerts of which nothing is to be sent.
update tocsin.alerts
set delivered_at = clock_timestamp(), sent_at = clock_timestamp()
where id = any (:ids::uuid[]);

-- name: fail
update tocsin.alerts
set failed_at = clock_timestamp(), sent_at = clock_timestamp(), error = left(:error::text, 1000)
where id = any (:ids::uuid[]);

-- name: follow
-- Writes down which deliveries have ended, and how.
with ended as materialized (
    select o.id, coalesce(j.last_outcome = 'succeeded', false) as is_delivered,
        coalesce(j.last_finished_at, clock_timestamp()) as at,
        case when j.id is null then 'the job that was to deliver it is gone'
            else coalesce(left(j.plan_error, 1000), (
                select left(x.error, 1000) from tocsin.executions x where x.job_id = j.id order by x.id desc limit 1))
            end as error
    from tocsin.alerts o left join tocsin.jobs j on j.id = o.delivery_id
    where o.channel is not null and o.delivered_at is null and o.failed_at is null and o.delivery_id is not null
      and (j.id is null or j.plan_error is not null
          or (j.next_run is null and j.planned_at is not null and j.locked_until is null and j.pending_runs = 0))
    limit 1000
)
update tocsin.alerts a
set delivered_at = case when ended.is_delivered then ended.at end,
    failed_at = case when not ended.is_delivered then ended.at end,
    error = case when not ended.is_delivered then ended.error end
from ended
where a.id = ended.id and a.delivered_at is null and a.failed_at is null
returning a.id, a.channel, a.delivered_at, a.error;
