-- db/triggers/8_alerts.sql: alert rules, their channels, and how alerts are delivered.

-- No trigger on jobs or executions knows of alerts: one instance at a time reads what has ended, in batches, and judges
-- it (app/scheduler/alerts.py). What it tells is a row of tocsin.alerts, in the transaction that moves the cursor.

-- Refuses a rule or a channel, naming the column, with what to write instead.
create or replace function tocsin.refuse_alert(table_name text, field text, message text, hint text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using
        errcode = 'check_violation', schema = 'tocsin', table = table_name,
        column = field, message = field || ' ' || message, hint = hint;
end $$;

-- A rule names channels that there are. A rule that is changed begins anew.
create or replace function tocsin.check_alert_rule()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    unknown text;
begin
    unknown := (
        select given.channel from unnest(new.channels) with ordinality as given (channel, place)
        where given.channel is not null and not exists (select from tocsin.alert_channels c where c.name = given.channel)
        order by place limit 1);
    if unknown is not null then
        perform tocsin.refuse_alert('alert_rules', 'channels', format('has %L, which is no channel', left(unknown, 200)),
            'Make the channel first, or leave it out.');
    end if;
    if tg_op = 'UPDATE' then
        new.updated_at := clock_timestamp();
        if row(new.events, new.job_id, new.tag, new.after, new.seconds, new.reasons, new.factor, new.more_than)
            is distinct from row(
                old.events, old.job_id, old.tag, old.after, old.seconds, old.reasons, old.factor, old.more_than) then
            new.begun_at := clock_timestamp();
            delete from tocsin.alert_states s where s.rule_id = new.id;
        end if;
    end if;
    return new;
end $$;

create or replace trigger alert_rules_100_check before insert or update on tocsin.alert_rules
    for each row execute function tocsin.check_alert_rule();

-- Before there is a rule nobody reads what ends; from the first one on the cursor begins here. With what may be under
-- way: earlier ends are told apart by begun_at. By statement, as the first rules may come together.
create or replace function tocsin.begin_alerts()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from tocsin.alert_rules r where not exists (select from added where added.id = r.id)) then
        insert into tocsin.alert_cursor as c (after_id, pending)
        select greatest(coalesce(pg_sequence_last_value('tocsin.executions_id_seq'), 0) - 10000, 0),
            array(select j.execution_id from tocsin.jobs j where j.locked_until is not null and j.execution_id is not null)
        on conflict (one) do update
        set after_id = excluded.after_id, pending = excluded.pending, mark_id = null, mark_xid = null, marked_at = null;
    end if;
    perform pg_notify('tocsin_alerts', '');
    return null;
end $$;

create or replace trigger alert_rules_700_begin after insert on tocsin.alert_rules
    referencing new table as added for each statement execute function tocsin.begin_alerts();

-- A channel that rules or other channels name stays, under its name.
create or replace function tocsin.check_alert_channel()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    user_of_it text;
begin
    if tg_op <> 'DELETE' and new.fallback is not null
        and not exists (select from tocsin.alert_channels c where c.name = new.fallback) then
        perform tocsin.refuse_alert('alert_channels', 'fallback', format('is %L, which is no channel', left(new.fallback, 200)),
            'Make that channel first, or leave it out.');
    end if;
    if tg_op = 'INSERT' then
        return new;
    elsif tg_op = 'UPDATE' then
        new.updated_at := clock_timestamp();
        if new.name = old.name then
            return new;
        end if;
    end if;
    user_of_it := (select min(format('rule %L', r.name)) from tocsin.alert_rules r where old.name = any (r.channels));
    if user_of_it is null then
        user_of_it := (
            select min(format('channel %L', c.name)) from tocsin.alert_channels c
            where c.fallback = old.name and c.id <> old.id);
    end if;
    if user_of_it is not null then
        perform tocsin.refuse_alert('alert_channels', 'name', format('is in use by the %s', user_of_it),
            'Take the channel out of rules and other channels first.');
    end if;
    return coalesce(new, old);
end $$;

create or replace trigger alert_channels_100_check before insert or update or delete on tocsin.alert_channels
    for each row execute function tocsin.check_alert_channel();

-- What a channel could not deliver is told by the one that it names for that, once: of a message that fails there too
-- there is the record. So is what is over: see tell in db/queries/alerts.sql, by which it may be told there already.
create or replace function tocsin.fall_back()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into tocsin.alerts (
        rule_id, rule, event, of_event, job_id, job, many, since, execution_id, why, channel, is_reminder, instead_of)
    select new.rule_id, new.rule, new.event, new.of_event, new.job_id, new.job, new.many, new.since, new.execution_id, new.why,
        c.fallback, new.is_reminder, new.id
    from tocsin.alert_channels c
    where c.name = new.channel and c.fallback is not null
      and not (new.event = 'recovered' and exists (
          select from (
              select t.* from tocsin.alerts t where t.job_id = new.job_id
              union all
              select t.* from tocsin.alerts t where new.job_id is null and t.job_id is null
          ) as t
          where t.rule_id = new.rule_id and t.event = new.event and t.of_event = new.of_event and t.since = new.since
            and t.channel = c.fallback));
    return null;
end $$;

create or replace trigger alerts_700_fall_back after update of failed_at on tocsin.alerts
    for each row when (new.failed_at is not null and old.failed_at is null and new.channel is not null
        and new.instead_of is null and new.event <> 'test')
    execute function tocsin.fall_back();

-- Has a channel told something, to see whether that arrives: select tocsin.test_channel('ops');
-- Returns the alert, in which delivered_at says so; no row: there is no such channel.
create or replace function tocsin.test_channel(channel text)
returns setof tocsin.alerts language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return query
        insert into tocsin.alerts (event, why, channel)
        select 'test', 'asked for by ' || left(tocsin.actor(), 1000), c.name
        from tocsin.alert_channels c where c.name = test_channel.channel
        returning *;
    perform pg_notify('tocsin_alerts', '');
end $$;

-- Makes the job that delivers some alerts as one message. A delivery that others forbid is on record as failed; one that a
-- lock keeps from being made is left for the next pass.
create or replace function tocsin.deliver_message(alert_ids uuid[], kind text, target jsonb, metadata jsonb)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
    problem text;
begin
    begin
        insert into tocsin.jobs as j (
            kind, target, metadata, run_at, max_attempts, backoff_seconds, backoff_max_seconds, description)
        values (deliver_message.kind, deliver_message.target, deliver_message.metadata, clock_timestamp(), 12, 2, 600,
            'Delivers an alert')
        returning j.id into made;
        if made is null then
            problem := 'a trigger suppressed the job that was to deliver it';
        end if;
    exception when lock_not_available or deadlock_detected then
        return;
    when others then
        problem := left(sqlerrm, 1000);
    end;
    update tocsin.alerts a
    set delivery_id = made, sent_at = clock_timestamp(),
        failed_at = case when problem is not null then clock_timestamp() end, error = problem
    where a.id = any (alert_ids);
end $$;

-- For how many seconds the last runs of a job before an execution lasted that succeeded: the median of up to twenty;
-- null: there are fewer than five among its last hundred executions.
create or replace function tocsin.usual_seconds(job uuid, before_id bigint)
returns float8 language sql stable
begin atomic
    select case when count(*) >= 5 then percentile_cont(0.5) within group (
        order by extract(epoch from found.finished_at - found.started_at)::float8) end
    from (
        select x.started_at, x.finished_at
        from (
            select p.started_at, p.finished_at, p.outcome, p.id from tocsin.executions p
            where p.job_id = usual_seconds.job and p.id < usual_seconds.before_id
            order by p.id desc limit 100
        ) as x
        where x.outcome = 'succeeded' and x.started_at is not null
        order by x.id desc limit 20
    ) as found;
end;

-- Why a rule tells of a backlog: what is due, and was not started, but for what delivers alerts. Null: there is none. A tag is looked for among the jobs
-- that have been due for longest, however many have it, and only if that decides nothing by its index, however many are due.
create or replace function tocsin.alert_backlog(rule tocsin.alert_rules)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    most constant bigint := coalesce(rule.more_than, 0) + 1;
    longest constant bigint := case when rule.tag is null then most else greatest(most, 10000) end;
    old constant timestamptz := now() - rule.seconds::float8 * interval '1 second';
    is_whole boolean := true;
    many bigint := 0;
    first timestamptz;
begin
    if rule.job_id is not null then
        select count(*), min(due.at) into many, first
        from (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where j.id = rule.job_id and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j))
              and greatest(j.next_run, j.locked_until) <= now()
            union all
            select greatest(j.next_run, j.locked_until) from tocsin.jobs j
            where j.run_of = rule.job_id and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j))
              and greatest(j.next_run, j.locked_until) <= now()
        ) as due;
    else
        select count(*) filter (where due.is_meant), min(due.at) filter (where due.is_meant), count(*) < longest
        into many, first, is_whole
        from (
            (
                select greatest(j.next_run, j.locked_until) as at, rule.tag is null or j.tags @> array[rule.tag] as is_meant
                from tocsin.jobs j
                where tocsin.is_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
                  and not exists (select from tocsin.alerts a where a.delivery_id = j.id)
                order by 1 limit longest
            ) union all (
                select greatest(j.next_run, j.locked_until), rule.tag is null or j.tags @> array[rule.tag]
                from tocsin.jobs j
                where tocsin.is_flow_claimable(j) and greatest(j.next_run, j.locked_until) <= now()
                  and not exists (select from tocsin.alerts a where a.delivery_id = j.id)
                order by 1 limit longest
            )
        ) as due;
    end if;
    if rule.tag is not null and not is_whole and many < most and not coalesce(first <= old, false) then
        select count(*), min(due.at) into many, first
        from (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where j.id = any (array(select k.id from tocsin.jobs k where k.tags @> array[rule.tag] and k.tags <> '{}'))
              and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and greatest(j.next_run, j.locked_until) <= now()
        ) as due;
    end if;
    return case
        when many > rule.more_than then format('more than %s are due and not started, the first since %s',
            rule.more_than, tocsin.told_at(first))
        when first <= old then format('the first has been due since %s and is not started', tocsin.told_at(first)) end;
end $$;

-- Of which kinds jobs are due that no instance runs which is connected, for so many seconds; null: there are none. A step
-- from kind to kind.
create or replace function tocsin.alert_no_instance(seconds float8)
returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    alive constant text[] := tocsin.kinds_alive();
    moment constant timestamptz := now() - alert_no_instance.seconds * interval '1 second';
    step text;
    found text[] := '{}';
begin
    step := (select min(j.kind) from tocsin.jobs j where j.kind not in ('http', 'amqp'));
    while step is not null and cardinality(found) < 5 loop
        if not step = any (alive) and exists (
            select from tocsin.jobs j
            where j.kind = step and j.kind not in ('http', 'amqp')
              and (tocsin.is_claimable(j) or tocsin.is_flow_claimable(j)) and greatest(j.next_run, j.locked_until) <= moment) then
            found := found || step;
        end if;
        step := (select min(j.kind) from tocsin.jobs j where j.kind not in ('http', 'amqp') and j.kind > step);
    end loop;
    return case when found <> '{}' then
        format('jobs of the kind %s are due, and no instance runs it', array_to_string(found, ', ')) end;
end $$;

-- What the audit log keeps of an alert rule.
create or replace function tocsin.audited_alert_rule(rule tocsin.alert_rules)
returns jsonb language sql stable
    return to_jsonb(rule) - '{id,created_at,updated_at,begun_at}'::text[];

-- What the audit log keeps of a channel; of its target, what it keeps of targets of jobs.
create or replace function tocsin.audited_alert_channel(channel tocsin.alert_channels)
returns jsonb language sql stable
    return jsonb_build_object(
        'name', channel.name, 'preset', channel.preset, 'fallback', channel.fallback,
        'target', tocsin.audited_target(
            case when channel.preset in ('amqp', 'smtp') then channel.preset else 'http' end, channel.target),
        'digest', md5(channel.target::text));

-- Writes one change of a rule or channel into the audit log, unless nothing of it is kept there.
create or replace function tocsin.log_alert_change(
    entity text, action text, entity_id uuid, entity_name text, was jsonb, became jsonb)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if was is not distinct from became then
        return;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case action when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        entity, entity_id, entity_name,
        case when action = 'UPDATE' then array(
            select replace(e.key, 'digest', 'target') from jsonb_each(was) as e
            where e.value is distinct from became -> e.key and e.key <> 'target' order by 1) end,
        was - 'digest', became - 'digest');
end $$;

-- Writes the changes of alert rules into the audit log.
create or replace function tocsin.audit_alert_rule()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    perform tocsin.log_alert_change('alert_rule', tg_op, coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op <> 'INSERT' then tocsin.audited_alert_rule(old) end,
        case when tg_op <> 'DELETE' then tocsin.audited_alert_rule(new) end);
    return null;
end $$;

create or replace trigger alert_rules_800_audit after insert or update or delete on tocsin.alert_rules
    for each row execute function tocsin.audit_alert_rule();

-- Writes the changes of alert channels into the audit log.
create or replace function tocsin.audit_alert_channel()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    perform tocsin.log_alert_change('alert_channel', tg_op, coalesce(new.id, old.id), coalesce(new.name, old.name),
        case when tg_op <> 'INSERT' then tocsin.audited_alert_channel(old) end,
        case when tg_op <> 'DELETE' then tocsin.audited_alert_channel(new) end);
    return null;
end $$;

create or replace trigger alert_channels_800_audit after insert or update or delete on tocsin.alert_channels
    for each row execute function tocsin.audit_alert_channel();
