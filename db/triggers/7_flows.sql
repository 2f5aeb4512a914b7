-- db/triggers/7_flows.sql: jobs with the same flow_key share limits, over all instances.

-- A job with a flow_key is not in jobs_claimable: a look knows nothing of it. An instance asks tocsin.permit for what
-- may be claimed of some flows; the permits of a flow are judged while the row of its state is locked. A permit that
-- counts for max_concurrency is a lease, so it comes back when the lease ends, whoever had it. Of a rate it is known
-- in tocsin.flow_starts when the starts were, at the latest, and each counts until its window is over.

-- What limits a flow: what it says itself and, of what it leaves null, the longest pattern that matches its key.
create or replace function tocsin.flow_limits(key text)
returns tocsin.flows language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    own tocsin.flows;
    pattern tocsin.flows;
begin
    select * into own from tocsin.flows f where f.flow_key = key;
    select * into pattern from tocsin.flows f
    where strpos(f.flow_key, '*') > 0
      and key collate "C" like replace(replace(replace(replace(f.flow_key, '!', '!!'), '_', '!_'), '%', '!%'), '*', '%') escape '!'
    order by length(f.flow_key) desc, f.flow_key limit 1;
    if own.paused_until <= clock_timestamp() then
        own.paused_at := null;
    end if;
    if pattern.paused_until <= clock_timestamp() then
        pattern.paused_at := null;
    end if;
    if own.flow_key is null then
        return pattern;
    elsif pattern.flow_key is null then
        return own;
    end if;
    own.max_concurrency := coalesce(own.max_concurrency, pattern.max_concurrency);
    if own.rate is null then
        own.rate := pattern.rate;
        own.period_seconds := pattern.period_seconds;
        own.burst := pattern.burst;
    end if;
    if own.paused_at is null then
        own.paused_at := pattern.paused_at;
        own.paused_until := pattern.paused_until;
        own.pause_reason := pattern.pause_reason;
        own.paused_by := pattern.paused_by;
    end if;
    return own;
end $$;

-- For how long a start counts, with a little more, as the clocks of two instances differ by milliseconds; many: of how
-- many starts at most. Two windows, one of which is null where the other is as strict.
create or replace function tocsin.flow_windows(flow tocsin.flows)
returns table (many integer, span interval) language sql stable
begin atomic
    select window_of.many, interval '1 second' * (window_of.seconds + least(0.02, window_of.seconds / 20))
    from (values
        (coalesce(flow.burst, flow.rate), (flow.period_seconds * coalesce(flow.burst, flow.rate) / flow.rate)::float8),
        (case when flow.burst < flow.rate then flow.rate end, flow.period_seconds::float8)) as window_of (many, seconds)
    where window_of.many is not null;
end;

-- How many leases of a flow are in force at a moment. A lease that has run out counts as long as another transaction
-- has its row locked, which may be extending it; those of the others cannot be extended any more: see claims.extend.
-- That is why this locks their rows.
create or replace function tocsin.flow_leases(key text, moment timestamptz)
returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    held integer;
    over integer;
begin
    select count(*) filter (where j.locked_until > moment), count(*) filter (where j.locked_until <= moment)
    into held, over
    from tocsin.jobs j where j.flow_key = key and j.locked_until is not null;
    if over > 0 then
        held := held + over - (
            select count(*) from (
                select from tocsin.jobs j
                where j.flow_key = key and j.locked_until is not null and j.locked_until <= moment
                for no key update skip locked) as free);
    end if;
    return held;
end $$;

-- Gives permits for jobs of some flows, at most `most` together: locks their rows and returns them, in the order of
-- each flow, for the statement that claims them at once. And of each flow a row without id: in how many seconds there
-- may be more to claim of it (null: not before something changes), and whether its starts are to be told. A flow whose
-- state another instance has locked is passed over for a moment.
-- Each statement in here sees what was committed before it, hence also what the last holder of a lock claimed: what limits a
-- flow, and how much of that is taken, is read once its state is locked. All flows go through each statement together, as one
-- for each would cost more than what it does; those that have limits, or raised jobs, have some of their own besides.
-- ended_by: the latest instant that is believed to have come; see claims.look.
create or replace function tocsin.permit(
    keys text[], most bigint, ahead interval, lease interval, ended_by timestamptz,
    kinds text[], aside uuid[], among uuid[], instance text)
returns table (
    flow_key text, next_seconds float8, is_timed boolean, waiting_since timestamptz,
    id uuid, due_at timestamptz, text text, locked_until timestamptz, locked_by text,
    claimed_at timestamptz, claimed_for timestamptz, claimed_attempt integer, execution_id bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    moment timestamptz := least(clock_timestamp(), ended_by);
    one record;
    part record;
    flow tocsin.flows;
    place integer;
    used bigint;
    at_limit boolean;
    left_over bigint := most;
    keys_left integer;
    others text[] := '{}';            -- flows of which something is due whose state is not locked here
    mine text[] := '{}';              -- those whose state is; of each of them, at its place in these:
    waits timestamptz[] := '{}';      -- since when some of its jobs have waited for a permit
    are_raised boolean[] := '{}';     -- whether it has jobs of a raised priority
    spans interval[] := '{}';         -- for how long its starts count; null: it has no rate
    permits bigint[] := '{}';         -- how many its limits leave; null: any number
    shares bigint[] := '{}';          -- how many there is room for
    many bigint[] := '{}';            -- how many may be claimed now: the smaller of these
    taken bigint[] := '{}';           -- how many are
    taken_ids uuid[] := '{}';         -- which, of flows with raised jobs
    following timestamptz[] := '{}';  -- when the first comes due that is not claimed
    next_at timestamptz[] := '{}';    -- when there may be more
begin
    -- By pairs, here and below, so that no plan but a walk of jobs_flow fits: where all that is due belongs to another
    -- flow, one along jobs_flow_due would read all of that first.
    for one in
        select asked.key, first.at, locked.key is not null as is_mine
        from unnest(keys) with ordinality as asked (key, place)
        left join lateral (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (asked.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (asked.key, 'infinity')
            order by j.flow_key, greatest(j.next_run, j.locked_until) limit 1) as first on true
        left join lateral (
            select s.flow_key as key from tocsin.flow_states s
            where s.flow_key = asked.key and first.at <= moment + ahead and most > 0
            for no key update skip locked) as locked on true
        order by asked.place
    loop
        if one.is_mine then
            mine := mine || one.key;
        elsif one.at <= moment + ahead and most > 0 then
            others := others || one.key;
        else
            flow_key := one.key; next_seconds := extract(epoch from one.at - moment);
            return next;
        end if;
    end loop;
    if others <> '{}' then  -- New ones, or locked by others. In their order, lest two looks wait for each other.
        for one in
            with made as (
                insert into tocsin.flow_states as s (flow_key)
                select key from unnest(others) as key order by key
                on conflict do nothing returning s.flow_key
            )
            select key, made.flow_key is not null as is_mine
            from unnest(others) as key left join made on made.flow_key = key
        loop
            if one.is_mine then
                mine := mine || one.key;
            else
                flow_key := one.key; next_seconds := 0.02;
                return next;
            end if;
        end loop;
    end if;
    if mine = '{}' then
        return;
    end if;

    moment := least(clock_timestamp(), ended_by);
    for one in
        with patterns as materialized (
            select replace(replace(replace(replace(f.flow_key, '!', '!!'), '_', '!_'), '%', '!%'), '*', '%') as matched
            from tocsin.flows f where strpos(f.flow_key, '*') > 0
        )
        select own.key, own.place::integer, s.held_until, s.waiting_since,
            exists (select from tocsin.flows f where f.flow_key = own.key)
                or exists (select from patterns p where own.key collate "C" like p.matched escape '!') as is_limited,
            (
                select j.id from tocsin.jobs j
                where tocsin.is_flow_claimable(j) and j.flow_key = own.key and j.priority > 0
                order by j.flow_key, j.priority, greatest(j.locked_until, j.next_run) limit 1) is not null as is_raised
        from unnest(mine) with ordinality as own (key, place)
        join tocsin.flow_states s on s.flow_key = own.key
    loop
        place := one.place;
        waits[place] := one.waiting_since;
        are_raised[place] := one.is_raised;
        taken[place] := 0;
        following[place] := null;
        if one.is_limited then
            flow := tocsin.flow_limits(one.key);
        else
            flow := null;
        end if;
        if flow.paused_at is not null then
            permits[place] := 0;
            next_at[place] := flow.paused_until;
        elsif one.held_until > moment then
            permits[place] := 0;
            next_at[place] := one.held_until;
        elsif flow.max_concurrency is not null then
            permits[place] := greatest(flow.max_concurrency - tocsin.flow_leases(one.key, moment), 0);
            if permits[place] = 0 then  -- a settlement is told; else the first lease that ends
                next_at[place] := coalesce((
                    select min(j.locked_until) from tocsin.jobs j
                    where j.flow_key = one.key and j.locked_until is not null and j.locked_until > moment),
                    moment + interval '0.1 second');
            end if;
        end if;
        if flow.rate is not null and coalesce(permits[place] > 0, true) then
            for part in select * from tocsin.flow_windows(flow) loop
                select coalesce(sum(s.many), 0) into used from tocsin.flow_starts s
                where s.flow_key = one.key and s.latest > moment - part.span;
                if used >= part.many then
                    -- As soon as so many have left the window that one more fits in.
                    next_at[place] := (
                        select greatest(next_at[place], min(s.latest) + part.span)
                        from (
                            select latest, sum(many) over (order by latest) as gone from tocsin.flow_starts
                            where flow_starts.flow_key = one.key and latest > moment - part.span) as s
                        where s.gone > used - part.many);
                end if;
                permits[place] := greatest(least(permits[place], part.many - used), 0);
                spans[place] := greatest(spans[place], part.span);
            end loop;
        end if;
    end loop;

    keys_left := cardinality(mine);
    for place in 1 .. cardinality(mine) loop
        shares[place] := greatest(left_over / keys_left, least(left_over, 1));
        many[place] := least(permits[place], shares[place]);
        left_over := left_over - many[place];
        keys_left := keys_left - 1;
    end loop;

    -- Of each flow one more than is claimed, which tells that more is due.
    for flow_key, place, is_timed, waiting_since, id, due_at, text, locked_until, locked_by, claimed_at, claimed_for,
        claimed_attempt, execution_id in
        select own.key, own.place, spans[own.place] is not null, waits[own.place], due.*
        from unnest(mine, many, are_raised) with ordinality as own (key, many, is_raised, place)
        cross join lateral (
            select j.id, greatest(j.next_run, j.locked_until) as due_at,
                case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                    then j.target::text end as text,
                j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id
            from tocsin.jobs j
            where tocsin.is_flow_claimable(j)
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (own.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (own.key, moment + ahead)
              and (j.locked_until is null or j.locked_until <= moment)
              and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
            order by j.flow_key, greatest(j.next_run, j.locked_until)
            limit own.many + 1
            for no key update skip locked) as due
        where own.many > 0 and not own.is_raised
    loop
        if taken[place] < many[place] then
            taken[place] := taken[place] + 1;
            return next;
        else
            following[place] := due_at;
        end if;
    end loop;
    -- By rank, as claims.look_by_priority has it, where any job of the flow is raised.
    for one in
        select own.key, own.place::integer, own.many
        from unnest(mine, many, are_raised) with ordinality as own (key, many, is_raised, place)
        where own.many > 0 and own.is_raised
    loop
        place := one.place;
        for flow_key, is_timed, waiting_since, id, due_at, text, locked_until, locked_by, claimed_at, claimed_for,
            claimed_attempt, execution_id in
            with first as materialized (
                select j.id, greatest(j.next_run, j.locked_until) as due_at,
                    case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                        then j.target::text end as text,
                    j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id, j.priority
                from tocsin.jobs j
                where tocsin.is_flow_claimable(j)
                  and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (one.key, '-infinity')
                  and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (one.key, moment + ahead)
                  and (j.locked_until is null or j.locked_until <= moment)
                  and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
                order by j.flow_key, greatest(j.next_run, j.locked_until)
                limit one.many
                for no key update skip locked
            ), raised as materialized (
                select due.*
                from generate_series(1, tocsin.highest_priority()) as level
                cross join lateral (
                    select j.id, greatest(j.next_run, j.locked_until) as due_at,
                        case when pg_column_size(j.target) < 1000 and pg_column_compression(j.target) is null
                            then j.target::text end as text,
                        j.locked_until, j.locked_by, j.claimed_at, j.claimed_for, j.claimed_attempt, j.execution_id, j.priority
                    from tocsin.jobs j
                    where tocsin.is_flow_claimable(j) and j.flow_key = one.key and j.priority > 0 and j.priority = level
                      and greatest(j.locked_until, j.next_run) <= moment + ahead
                      and (j.locked_until is null or j.locked_until <= moment)
                      and j.kind = any (kinds) and not (j.id = any (aside)) and (among is null or j.id = any (among))
                    order by j.flow_key, j.priority, greatest(j.locked_until, j.next_run)
                    limit one.many
                    for no key update skip locked
                ) as due
            )
            select one.key, spans[place] is not null, waits[place], found.id, found.due_at, found.text, found.locked_until, found.locked_by,
                found.claimed_at, found.claimed_for, found.claimed_attempt, found.execution_id
            from (
                select * from first where priority not between 1 and tocsin.highest_priority()
                union all select * from raised) as found
            order by tocsin.rank(found.due_at, found.priority)
            limit one.many
        loop
            taken[place] := taken[place] + 1;
            taken_ids := taken_ids || id;
            return next;
        end loop;
    end loop;

    is_timed := null; waiting_since := null; id := null; due_at := null; text := null; locked_until := null; locked_by := null;
    claimed_at := null; claimed_for := null; claimed_attempt := null; execution_id := null;
    for one in
        -- Nothing is claimed yet, so those that are returned here are the first of the flow, unless some are raised.
        select own.key, own.place::integer, coalesce(own.following, first.at) as at
        from unnest(mine, many, taken, following, are_raised) with ordinality as own (key, many, taken, following, is_raised, place)
        left join lateral (
            select greatest(j.next_run, j.locked_until) as at from tocsin.jobs j
            where tocsin.is_flow_claimable(j) and own.many > 0 and own.following is null
              and (j.flow_key, greatest(j.next_run, j.locked_until)) >= (own.key, '-infinity')
              and (j.flow_key, greatest(j.next_run, j.locked_until)) <= (own.key, 'infinity')
              and not (own.is_raised and j.id = any (taken_ids))
            order by j.flow_key, greatest(j.next_run, j.locked_until)
            offset case when own.is_raised then 0 else own.taken end limit 1) as first on true
    loop
        place := one.place;
        at_limit := permits[place] < shares[place];
        if many[place] > 0 then
            if taken[place] > 0 and spans[place] is not null then
                delete from tocsin.flow_starts s where s.flow_key = one.key and s.latest <= moment - spans[place];
                insert into tocsin.flow_starts as s (flow_key, granted_at, instance, many, latest)
                values (one.key, now(), permit.instance, taken[place], moment + ahead + interval '5 seconds')
                on conflict on constraint flow_starts_pkey do update
                set many = s.many + excluded.many, latest = greatest(s.latest, excluded.latest);
            end if;
            next_at[place] := case
                when coalesce(one.at > moment + ahead, true) and taken[place] > 0 then least(one.at, moment + lease)
                when coalesce(one.at > moment + ahead, true) then one.at
                when taken[place] = many[place] then moment  -- what limits it now is known at the next time
                else moment + interval '0.1 second' end;  -- locked by others, of another kind, or aside
            at_limit := at_limit and taken[place] = many[place] and coalesce(one.at <= moment + ahead, false);
        elsif shares[place] = 0 and permits[place] is distinct from 0 then
            next_at[place] := moment;  -- there was no room for it
        end if;
        -- At the limit, and some are due: what waits is not late, as far as misfire is concerned.
        if shares[place] > 0 and coalesce(at_limit, false) <> (waits[place] is not null) then
            update tocsin.flow_states s set waiting_since = case when at_limit then moment end where s.flow_key = one.key;
        end if;
        flow_key := one.key; next_seconds := extract(epoch from next_at[place] - moment);
        return next;
    end loop;
end $$;

-- Tells instances that something of a flow may be claimed sooner than they know; null: of any flow.
create or replace function tocsin.wake_flow(key text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('tocsin_flows', coalesce(key, ''));
    end if;
end $$;

-- Ends what a target asked for: jobs of the flow may start again.
create or replace function tocsin.release_flow(key text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update tocsin.flow_states s set held_until = null, held_for = null where s.flow_key = key;
    perform tocsin.wake_flow(key);
end $$;

-- Says who paused a flow; one that is not paused has nothing of a pause, and one that is paused anew by paused_at alone nothing
-- of a pause that has ended by itself.
create or replace function tocsin.keep_flow_pause()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.paused_at is null then
        new.pause_reason := null;
        new.paused_until := null;
        new.paused_by := null;
    elsif tg_op = 'INSERT' then
        new.paused_by := left(tocsin.actor(), 2000);
    elsif row(new.paused_at, new.pause_reason, new.paused_until) is distinct from row(old.paused_at, old.pause_reason, old.paused_until) then
        new.paused_by := left(tocsin.actor(), 2000);
        if old.paused_until <= clock_timestamp() and new.paused_until = old.paused_until and new.paused_at <> old.paused_at then
            new.paused_until := null;
            new.pause_reason := nullif(new.pause_reason, old.pause_reason);
        end if;
    end if;
    return new;
end $$;

create or replace trigger flows_100_pause before insert or update on tocsin.flows
    for each row execute function tocsin.keep_flow_pause();

-- Pauses all jobs of a flow, or of those that a pattern matches, says why (reason, up to 1,000 characters), and until when; null:
-- until it is resumed: select tocsin.pause_flow('api.example.com', 'it is moved', now() + interval '2 hours'); Its limits stay
-- as they are, and its jobs keep their plan and wait. A pause of it that there is gets this reason and end. Returns the flow.
create or replace function tocsin.pause_flow(flow_key text, reason text default null, until timestamptz default null)
returns setof tocsin.flows language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform tocsin.check_pause(pause_flow.reason, pause_flow.until);
    return query
        insert into tocsin.flows as f (flow_key, paused_at, pause_reason, paused_until)
        values (pause_flow.flow_key, clock_timestamp(), pause_flow.reason, pause_flow.until)
        on conflict (flow_key) do update
        set paused_at = case when f.paused_until <= clock_timestamp() then excluded.paused_at else coalesce(f.paused_at, excluded.paused_at) end,
            pause_reason = excluded.pause_reason, paused_until = excluded.paused_until, updated_at = clock_timestamp()
        returning f.*;
end $$;

-- Resumes a flow: its jobs start again, as far as its limits allow. Those limits stay. Returns the flow; no row: there is none,
-- or it is not paused itself.
create or replace function tocsin.resume_flow(flow_key text)
returns setof tocsin.flows language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        update tocsin.flows f set paused_at = null, updated_at = clock_timestamp()
        where f.flow_key = resume_flow.flow_key and f.paused_at is not null returning f.*;
end $$;

-- Tells instances that the limits of a flow have changed.
create or replace function tocsin.wake_flow_of()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key constant text := case when tg_op = 'DELETE' then old.flow_key else new.flow_key end;
begin
    perform tocsin.wake_flow(case when strpos(key, '*') = 0 then key end);
    return null;
end $$;

create or replace trigger flows_900_wake after insert or update or delete on tocsin.flows
    for each row execute function tocsin.wake_flow_of();

-- The flow of the host that a target is sent to, see tocsin.flow_by_host; null: it is of another kind than http, or the
-- host is an IPv6 address, has letters beyond ASCII, or comes from a template. app/core/jobs/host_flow.py has the same.
create or replace function tocsin.host_flow(kind text, target jsonb)
returns text language sql immutable parallel safe
    return case when kind = 'http' and jsonb_typeof(target -> 'url') = 'string' then 'host:' || lower(substring(target ->> 'url'
        from '^[a-zA-Z]+://(?:[^/?#@]*@)?([a-zA-Z0-9._-]{1,190})(?:[:/?#]|$)')) end;

-- Puts a job into the flow of the host of its target, unless it has another one of its own.
create or replace function tocsin.derive_flow()
returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.flow_key is null or (tg_op = 'UPDATE' and new.flow_key = tocsin.host_flow(old.kind, old.target)) then
        new.flow_key := tocsin.host_flow(new.kind, new.target);
    end if;
    return new;
end $$;

-- Has each job that is written from now on without a flow_key, by whatever door, be in the flow of its target's host; or
-- no longer. A trigger that is there only while this is wanted: else each insertion would pay for it. For the owner of
-- the table. Jobs that are there already: update tocsin.jobs set flow_key = null where flow_key is null and kind = 'http';
create or replace function tocsin.flow_by_host(wanted boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if wanted then
        create or replace trigger jobs_065_flow_by_host before insert or update of kind, target, flow_key on tocsin.jobs
            for each row when (new.run_of is null and (new.flow_key is null or new.flow_key like 'host:%'))
            execute function tocsin.derive_flow();
    else
        drop trigger if exists jobs_065_flow_by_host on tocsin.jobs;
    end if;
end $$;

-- What the audit log keeps of a flow.
create or replace function tocsin.flow_image(flow tocsin.flows)
returns jsonb language sql immutable
    return jsonb_build_object('max_concurrency', flow.max_concurrency, 'rate', flow.rate,
        'period_seconds', flow.period_seconds, 'burst', flow.burst, 'paused_at', flow.paused_at,
        'pause_reason', flow.pause_reason, 'paused_until', flow.paused_until);

-- Writes the changes of flows into the audit log.
create or replace function tocsin.audit_flow()
returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was constant jsonb := case when tg_op <> 'INSERT' then tocsin.flow_image(old) end;
    became constant jsonb := case when tg_op <> 'DELETE' then tocsin.flow_image(new) end;
begin
    if was = became then
        return null;
    end if;
    insert into tocsin.audit_log (action, entity, entity_id, entity_name, changed, before, after)
    values (
        case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end,
        'flow', coalesce(new.id, old.id), coalesce(new.flow_key, old.flow_key),
        case when tg_op = 'UPDATE' then array(
            select e.key from jsonb_each(was) as e where e.value <> became -> e.key order by 1) end,
        was, became);
    return null;
end $$;

create or replace trigger flows_800_audit after insert or update or delete on tocsin.flows
    for each row execute function tocsin.audit_flow();

-- What of its flow keeps a job from starting that is due: one row for each limit that is reached. Who has the permits
-- is told of the ten whose leases end first.
create or replace function tocsin.explain_flow(job tocsin.jobs)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    flow tocsin.flows;
    state tocsin.flow_states;
    place record;
    used bigint;
    next_at timestamptz;
    holders jsonb;
    words text;
begin
    if job.flow_key is null or not has_table_privilege('tocsin.flows', 'select') then
        return;
    end if;
    flow := tocsin.flow_limits(job.flow_key);
    if flow.paused_at is not null then
        return query select 'flow_paused', format('Its flow %s is paused since %s%s.%s', job.flow_key, tocsin.told_at(flow.paused_at),
                case when flow.flow_key <> job.flow_key then ', by the pattern ' || flow.flow_key else '' end,
                tocsin.pause_in_words(jsonb_build_object('paused_by', flow.paused_by, 'until', flow.paused_until,
                    'reason', flow.pause_reason))),
            flow.paused_at, flow.paused_until, jsonb_strip_nulls(jsonb_build_object('flow_key', job.flow_key,
                'paused_by', flow.paused_by, 'pause_reason', flow.pause_reason));
    end if;
    if has_table_privilege('tocsin.flow_states', 'select') then
        select * into state from tocsin.flow_states s where s.flow_key = job.flow_key;
        if state.held_until > now() then
            return query select 'flow_held', format('Its flow %s is held until %s: %s.', job.flow_key,
                    tocsin.told_at(state.held_until), coalesce(state.held_for, 'the target asked for that')),
                null::timestamptz, state.held_until, jsonb_build_object('flow_key', job.flow_key);
        end if;
    end if;
    if flow.max_concurrency is not null then
        select count(*), min(j.locked_until) into used, next_at
        from tocsin.jobs j where j.flow_key = job.flow_key and j.locked_until is not null and j.locked_until > now();
        if used >= flow.max_concurrency then
            select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                    'job_id', coalesce(h.run_of, h.id), 'name', h.called, 'execution_id', h.execution_id,
                    'instance', h.locked_by, 'until', h.locked_until)) order by h.locked_until, h.id),
                string_agg(coalesce(h.called, coalesce(h.run_of, h.id)::text), ', ' order by h.locked_until, h.id)
            into holders, words
            from (
                -- A run beside the plan has no name of its own.
                select j.*, coalesce(j.name, (select o.name from tocsin.jobs o where o.id = j.run_of)) as called
                from tocsin.jobs j
                where j.flow_key = job.flow_key and j.locked_until is not null and j.locked_until > now()
                order by j.locked_until, j.id limit 10) as h;
            return query select 'flow_full', format('%s of %s permits of its flow %s are taken: by %s%s. One comes back when one of these ends, at %s at the latest unless its lease is extended.',
                    used, flow.max_concurrency, job.flow_key, words, case when used > 10 then ' and others' else '' end,
                    tocsin.told_at(next_at)),
                null::timestamptz, next_at, jsonb_build_object('flow_key', job.flow_key, 'permits', flow.max_concurrency,
                    'taken', used, 'holders', holders);
        end if;
    end if;
    if flow.rate is not null and has_table_privilege('tocsin.flow_starts', 'select') then
        for place in select * from tocsin.flow_windows(flow) loop
            select coalesce(sum(s.many), 0) into used
            from tocsin.flow_starts s
            where s.flow_key = job.flow_key and s.latest > now() - place.span;
            if used >= place.many then
                -- As tocsin.permit has it: a limit that was lowered has more in its window than it allows.
                select min(s.latest) + place.span into next_at
                from (
                    select latest, sum(many) over (order by latest) as gone from tocsin.flow_starts
                    where flow_starts.flow_key = job.flow_key and latest > now() - place.span) as s
                where s.gone > used - place.many;
                return query select 'flow_rate', format('%s of %s starts that its flow %s may have in %s s were made: the next is at %s.',
                        used, place.many, job.flow_key, round(extract(epoch from place.span)::numeric, 3), tocsin.told_at(next_at)),
                    null::timestamptz, next_at, jsonb_build_object('flow_key', job.flow_key, 'permits', place.many, 'taken', used);
            end if;
        end loop;
    end if;
end $$;
