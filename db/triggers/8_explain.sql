-- db/triggers/8_explain.sql: why a job has not run, or when it will, and what became of a run.

-- The instances that are connected, each by the session that it listens on; application_name may be cut at 63 bytes.
create or replace function tocsin.connected_instances()
returns table (name text, connected_since timestamptz) language sql stable
begin atomic
    select substring(application_name from '^tocsin scheduler (.*)$'), min(backend_start)
    from pg_stat_activity
    where datname = current_database() and application_name like 'tocsin scheduler %'
    group by 1;
end;

-- Whether an instance has a session: the one that it listens on, or that which settles what it held.
create or replace function tocsin.is_connected(instance text)
returns boolean language sql stable
    return exists (
        select from pg_stat_activity
        where datname = current_database()
          and application_name in (left('tocsin scheduler ' || instance, 63), left('tocsin settle ' || instance, 63)));

-- The kinds that an instance which is connected runs. One of 0.1.0 does not say so.
create or replace function tocsin.kinds_alive()
returns text[] language sql stable
begin atomic
    select array(
        select unnest(array['http', 'amqp']) where exists (select from tocsin.connected_instances())
        union
        select unnest(i.kinds) from tocsin.instance_rules i where i.kinds is not null and tocsin.is_connected(i.name));
end;

-- What users put on tocsin.executions that may keep records from being written. Without any policy, a role that is not
-- the owner sees no row at all.
create or replace function tocsin.rules_on_executions()
returns setof text language sql stable
begin atomic
    select format('trigger %I on tocsin.executions', tgname)
    from pg_trigger
    where tgrelid = 'tocsin.executions'::regclass and not tgisinternal and tgenabled in ('O', 'A')
    union all
    select format('rule %I on tocsin.executions', rulename)
    from pg_rules where schemaname = 'tocsin' and tablename = 'executions'
    union all
    select format('policy %I on tocsin.executions', policyname)
    from pg_policies where schemaname = 'tocsin' and tablename = 'executions'
    union all
    select 'row security on tocsin.executions'
    from pg_class where oid = 'tocsin.executions'::regclass and relrowsecurity;
end;

-- The transactions of others that have a row of tocsin.jobs locked, from what the row itself says: no lock is asked for.
-- The row names one transaction, or a list of them (a multixact) by a number of the same kind, so whoever is found by
-- that list has to have a lock on the table as well. A transaction that keeps no more than the key, as a foreign key to
-- tocsin.jobs does, keeps no instance from the row; one alone cannot be told from the rest. Tocsin's own take
-- milliseconds and are told if they take a second.
create or replace function tocsin.row_lockers(row_id uuid)
returns table (pid integer, application_name text, since timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    locker constant xid := (select j.xmax from tocsin.jobs j where j.id = row_id);
    lockers xid[] := array[locker];
begin
    if locker is null or locker = '0'::xid then
        return;
    end if;
    if not exists (select from pg_locks l where l.locktype = 'transactionid' and l.transactionid = locker) then
        begin
            select array_agg(m.xid) into lockers
            from pg_get_multixact_members(locker) as m
            where m.mode <> 'keysh' and exists (
                select from pg_locks x join pg_locks t using (virtualtransaction)
                where x.locktype = 'transactionid' and x.transactionid = m.xid
                  and t.locktype = 'relation' and t.relation = 'tocsin.jobs'::regclass
                  and t.mode in ('RowShareLock', 'RowExclusiveLock'));
        exception when others then  -- there is no such list
            return;
        end;
    end if;
    return query
        select l.pid, left(coalesce(a.application_name, 'prepared transaction ' || p.gid), 200),
            coalesce(a.xact_start, p.prepared)
        from pg_locks l
        left join pg_stat_activity a on a.pid = l.pid
        left join pg_prepared_xacts p on p.transaction = l.transactionid
        where l.locktype = 'transactionid' and l.granted and l.transactionid = any (lockers)
          and l.pid is distinct from pg_backend_pid()
          and (a.application_name is null or a.application_name not like 'tocsin %'
              or a.xact_start < clock_timestamp() - interval '1 second');
end $$;

-- An instant as sentences have it.
create or replace function tocsin.told_at(instant timestamptz)
returns text language sql stable
    return to_char(instant at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');

-- How an execution or a run ended, as sentences have it.
create or replace function tocsin.ending_in_words(outcome text, why text, error text)
returns text language sql immutable
    return case outcome when 'timed_out' then 'timed out'
            when 'cancelled' then 'was cancelled' when 'lost' then 'was lost' when 'missed' then 'was missed'
            else outcome end
        || coalesce(' (' || why || ')', '') || coalesce(': ' || left(error, 1000), '');

-- What becomes of runs that come due while one of the plan is unfinished.
create or replace function tocsin.overlap_in_words(overlap text)
returns text language sql immutable
    return case overlap
        when 'skip' then ' Runs that come due meanwhile are missed (overlap: skip).'
        when 'buffer_one' then ' Of runs that come due meanwhile the latest follows, and the others are missed (overlap: buffer_one).'
        when 'cancel_other' then ' It is cut off when the next run comes due (overlap: cancel_other).'
        when 'allow_all' then ' Runs that come due meanwhile are carried out beside it (overlap: allow_all).'
        else '' end;

-- Who paused, whose tag it is, until when and why, as a sentence.
create or replace function tocsin.pause_in_words(pause jsonb)
returns text language sql stable
    return case when pause ->> 'paused_by' is null then '' else
        format(' By %s%s%s%s.', left(pause ->> 'paused_by', 200), ' with the tag ' || quote_literal(pause ->> 'tag'),
            ', until ' || tocsin.told_at((pause ->> 'until')::timestamptz), ': ' || rtrim(pause ->> 'reason', '.')) end;

-- What the next attempt of a run waits for, be it of the plan of its job or beside that; last: the job's newest execution.
create or replace function tocsin.explain_wait(job tocsin.jobs, run tocsin.jobs, last tocsin.executions)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    due_at constant timestamptz := greatest(run.next_run, run.locked_until);
    occurrence constant timestamptz := coalesce(run.scheduled_for, run.next_run);
    known constant boolean := coalesce(last.scheduled_for = occurrence, false);
begin
    if run.locked_until is not null and (run.execution_id is not null or last.reason is distinct from 'cancelled') then
        return query select 'lease_ended', format(
                'The lease of instance %s for attempt %s of %s of the run of %s ended at %s without a settlement: the next look takes the run over.',
                run.locked_by, coalesce(run.claimed_attempt, run.attempt), run.max_attempts, tocsin.told_at(occurrence),
                tocsin.told_at(run.locked_until)),
            run.locked_until, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'instance', run.locked_by, 'run', occurrence, 'attempt', coalesce(run.claimed_attempt, run.attempt),
                'max_attempts', run.max_attempts, 'execution_id', run.execution_id));
    elsif run.attempt > 0 then
        return query select 'retrying', format('Attempt %s of %s of the run of %s %s. The next attempt is %s %s.',
                run.attempt, run.max_attempts, tocsin.told_at(occurrence),
                case when known then tocsin.ending_in_words(last.outcome, last.reason, rtrim(last.error, '.'))
                    else 'did not succeed' end,
                case when due_at > now() then 'planned for' else 'due since' end, tocsin.told_at(due_at)),
            job.last_finished_at, due_at, jsonb_strip_nulls(jsonb_build_object(
                'run', occurrence, 'attempt', run.attempt, 'max_attempts', run.max_attempts)
                || case when known then jsonb_build_object('outcome', last.outcome, 'why', last.reason,
                    'error', left(last.error, 2000), 'execution_id', last.id) else '{}' end);
    elsif run.run_of is null and tocsin.is_skipped(job) then
        return query select 'skipped', format('Its run of %s is skipped%s.', tocsin.told_at(occurrence),
                case when job.skip_until > occurrence then ', as are all before ' || tocsin.told_at(job.skip_until)
                    when job.skip_runs > 1 then format(', as are the %s after it', job.skip_runs - 1) else '' end),
            null::timestamptz, case when job.skip_until > occurrence then job.skip_until end, jsonb_strip_nulls(jsonb_build_object(
                'run', occurrence, 'skip_runs', job.skip_runs, 'skip_until', job.skip_until));
    elsif run.run_of is null and (tocsin.maintenance_of(job, occurrence)).id is not null then
        return query select * from tocsin.explain_maintenance(job, occurrence);
    elsif run.run_of is null and job.calendars is not null and (
            tocsin.calendars_problem(job.calendars) is not null or tocsin.closed_until(job.calendars, occurrence) is not null) then
        return query select * from tocsin.explain_closing(job, occurrence, due_at);
    elsif run.run_of is null and job.min_gap_seconds > 0 and due_at > occurrence
            and (job.runs > 0 or job.last_outcome is distinct from 'missed')  -- else none has ended yet
            and job.last_finished_at + job.min_gap_seconds * interval '1 second' >= due_at then
        return query select 'min_gap', format('Its run of %s is put off until %s, %s s after the end of the run before.',
                tocsin.told_at(occurrence), tocsin.told_at(due_at), job.min_gap_seconds::float8),
            job.last_finished_at, due_at, jsonb_build_object('run', occurrence);
    elsif job.kind = 'check' and run.run_of is null then
        return query select 'ping_expected', case
                when due_at > occurrence and occurrence <= now() and not (
                        select tocsin.is_ping_late(job, p.ended_at) from (select) as one left join tocsin.pings_of(job.id) as p on true) then
                    format('The ping of %s has come. The one after it is expected once the grace ends, at %s.', tocsin.told_at(occurrence), tocsin.told_at(due_at))
                else format('It expects the ping of %s%s.', tocsin.told_at(occurrence),
                    case when due_at > occurrence then ', by ' || tocsin.told_at(due_at) || ' at the latest' else '' end) end,
            null::timestamptz, due_at, jsonb_build_object('run', occurrence);
    elsif due_at > now() then
        if job.starts_at > now() and run.run_of is null then
            return query select 'before_window', format('Its window starts at %s.', tocsin.told_at(job.starts_at)),
                null::timestamptz, job.starts_at, jsonb_build_object('starts_at', job.starts_at);
        end if;
        return query select 'scheduled', case
                when occurrence < due_at and tocsin.has_jitter(job) and run.run_of is null then
                    format('Its run of %s is spread: it starts at %s.', tocsin.told_at(occurrence), tocsin.told_at(due_at))
                else format('It waits for its run of %s.', tocsin.told_at(due_at)) end,
            null::timestamptz, due_at, jsonb_build_object('run', occurrence);
    else
        return query select 'due', format('The run of %s is due%s, and starts once an instance has a free slot.',
                tocsin.told_at(occurrence), ' since ' || tocsin.told_at(due_at)),
            due_at, null::timestamptz, jsonb_strip_nulls(jsonb_build_object('run', occurrence));
    end if;
end $$;

-- What the window makes of the next run of a job that it falls into.
create or replace function tocsin.explain_maintenance(job tocsin.jobs, occurrence timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    under constant tocsin.maintenance := tocsin.maintenance_of(job, occurrence);
    over_at constant timestamptz := nullif(tocsin.maintained_until(job.calendars, job.tags, occurrence), 'infinity');
begin
    return query select 'maintenance', format('Its run of %s falls into maintenance of %s%s%s: it %s.',
            tocsin.told_at(occurrence), coalesce('what has the tag ' || quote_literal(under.tag), 'everything'),
            ', until ' || tocsin.told_at(over_at), ' (' || under.reason || ')',
            case when under.on_closed = 'next_open' and over_at is not null then 'starts then' else 'is missed then' end),
        occurrence, over_at, jsonb_strip_nulls(jsonb_build_object('run', occurrence, 'maintenance', under.id,
            'tag', under.tag, 'calendar', under.calendar, 'maintenance_reason', under.reason, 'set_by', under.created_by));
end $$;

-- What the calendars of a job make of its next run, which they close.
create or replace function tocsin.explain_closing(job tocsin.jobs, occurrence timestamptz, due_at timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    problem constant text := tocsin.calendars_problem(job.calendars);
    opens_at constant timestamptz := nullif(tocsin.closed_until(job.calendars, occurrence), 'infinity');
    about constant jsonb := jsonb_build_object('run', occurrence, 'calendars', to_jsonb(job.calendars));
begin
    return query select 'calendar', case
            when problem is not null then format('It becomes invalid when its run of %s is due: %s.', tocsin.told_at(occurrence), problem)
            when job.on_closed = 'next_open' and opens_at is not null then
                format('Its run of %s falls into time that its calendars (%s) close until %s, and starts then.',
                    tocsin.told_at(occurrence), array_to_string(job.calendars, ', '), tocsin.told_at(opens_at))
            else format('Its run of %s falls into time that its calendars (%s) close%s: it is missed then.',
                tocsin.told_at(occurrence), array_to_string(job.calendars, ', '), ' until ' || tocsin.told_at(opens_at)) end,
        occurrence, opens_at, about;
end $$;

-- How the last run of a job failed that goes on, and how many did in a row; last: its newest execution.
create or replace function tocsin.explain_failing(job tocsin.jobs, last tocsin.executions)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    known constant boolean := coalesce(last.outcome = job.last_outcome, false);
begin
    return query select 'failing', format('Its last run%s %s, at %s%s.%s',
            case when known then ', of ' || tocsin.told_at(last.scheduled_for) || ',' end,
            tocsin.ending_in_words(job.last_outcome, case when known then last.reason end, null),
            tocsin.told_at(coalesce(case when known then last.finished_at end, job.last_finished_at)),
            case when known then ': ' || coalesce(left(rtrim(last.error, '.'), 1000), 'answered ' || last.status_code) end,
            case when job.consecutive_failures > 1 then format(' %s runs in a row did not succeed.', job.consecutive_failures) end),
        coalesce(case when known then last.finished_at end, job.last_finished_at), null::timestamptz,
        jsonb_strip_nulls(jsonb_build_object('outcome', job.last_outcome, 'consecutive_failures', job.consecutive_failures)
            || case when known then jsonb_build_object('run', last.scheduled_for, 'attempt', last.attempt, 'why', left(last.reason, 1000),
                'status_code', last.status_code, 'error', left(last.error, 2000), 'execution_id', last.id) else '{}' end);
end $$;

-- Why a job has not run, or when it will: the first row is what holds it now. How it stands is for tocsin.state to say;
-- here is why. Flow keys and calendars have their place among what a planned run waits for, as skipped runs do.
create or replace function tocsin.explain_present(job tocsin.jobs)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    state constant text := tocsin.state(job);
    run tocsin.jobs;  -- what is carried out next: a run beside the plan, or the plan
    held tocsin.jobs;
    last tocsin.executions;
    due_at timestamptz;
    waits boolean;
    connected boolean;
    anyone boolean;   -- is connected
    in_flow boolean;  -- it is due, and its flow holds it
    ending text := '';
    pause jsonb;
begin
    if job.pending_runs > 0 and job.attempt = 0 then
        select * into run from tocsin.jobs r
        where r.run_of = job.id and (r.next_run is not null or r.execution_id is not null)
        order by r.id limit 1;
    else
        run := job;
    end if;
    due_at := greatest(run.next_run, run.locked_until);
    waits := coalesce(due_at > now(), false);
    if job.last_outcome is not null and has_table_privilege('tocsin.executions', 'select') then
        select * into last from tocsin.executions e where e.job_id = job.id order by e.id desc limit 1;
    end if;

    if job.plan_error is not null then
        return query select 'invalid', format('It cannot run until this is corrected: %s', left(job.plan_error, 2000)),
            null::timestamptz, null::timestamptz, jsonb_build_object('error', left(job.plan_error, 2000));
    end if;
    foreach held in array case
        when job.overlap = 'allow_all' then job || array(
            select r from tocsin.jobs r where r.run_of = job.id and r.locked_until is not null order by r.id limit 10)
        when run.run_of is null then array[job] else array[job, run] end
    loop
        if held.locked_until > now() and held.execution_id is null and last.outcome = 'cancelled' and last.reason = 'cancelled' then
            return query select 'cutting_off',
                format('Execution %s was cancelled, and instance %s has yet to cut it off: nothing else starts before that, or before its lease ends at %s.',
                    last.id, held.locked_by, tocsin.told_at(held.locked_until)),
                last.finished_at, held.locked_until, jsonb_build_object('instance', held.locked_by, 'execution_id', last.id);
        elsif held.locked_until > now() then
            connected := tocsin.is_connected(held.locked_by);
            return query select
                case when connected then 'executing' else 'instance_gone' end,
                format('Instance %s has its lease until %s, for attempt %s of %s of the run of %s, claimed at %s.%s',
                    held.locked_by, tocsin.told_at(held.locked_until), coalesce(held.claimed_attempt, held.attempt),
                    held.max_attempts, tocsin.told_at(coalesce(held.claimed_for, held.scheduled_for)),
                    tocsin.told_at(held.claimed_at), case when not connected then
                        ' That instance is not connected: unless it comes back, another takes the run over then.' else '' end
                    || case when held.run_of is null and held.run_at is null then tocsin.overlap_in_words(held.overlap) else '' end),
                held.claimed_at, held.locked_until, jsonb_strip_nulls(jsonb_build_object(
                    'instance', held.locked_by, 'run', coalesce(held.claimed_for, held.scheduled_for),
                    'attempt', coalesce(held.claimed_attempt, held.attempt), 'max_attempts', held.max_attempts,
                    'execution_id', held.execution_id));
        end if;
    end loop;
    if state = 'invalid' and job.plan_error is null then
        return query select 'unsupported_kind', format(
                'No instance has run jobs of the kind %L in the last day: correct the kind, or start an instance that has it.',
                job.kind),
            null::timestamptz, null::timestamptz, jsonb_build_object('kind', job.kind);
    end if;
    if job.paused_at is not null then
        pause := tocsin.pause_of(job);
        return query select 'paused', format('It is paused since %s, and keeps its plan%s.%s', tocsin.told_at(job.paused_at),
                ': ' || tocsin.told_at(job.next_run), tocsin.pause_in_words(pause)),
            job.paused_at, (pause ->> 'until')::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'run', case when job.next_run is not null then coalesce(job.scheduled_for, job.next_run) end,
                'paused_by', pause ->> 'paused_by', 'pause_reason', pause ->> 'reason', 'tag', pause ->> 'tag'));
    end if;
    if state in ('scheduled', 'retrying', 'invalid') then
        return query
            select 'all_paused', format('Everything is paused since %s.%s', tocsin.told_at(p.paused_at),
                    tocsin.pause_in_words(to_jsonb(p) - 'tag')),
                p.paused_at, p.until, jsonb_strip_nulls(jsonb_build_object('paused_by', p.paused_by, 'pause_reason', p.reason))
            from tocsin.pauses p where p.scope = 0;
        return query
            select 'tag_paused', format('It has the tag %L, which is paused since %s: it is paused once its run is due.%s',
                    p.tag, tocsin.told_at(p.paused_at), tocsin.pause_in_words(to_jsonb(p) - 'tag')),
                p.paused_at, p.until, jsonb_strip_nulls(jsonb_build_object(
                    'paused_by', p.paused_by, 'pause_reason', p.reason, 'tag', p.tag))
            from tocsin.pauses p where p.tag = any (job.tags);
    end if;

    if state in ('finished', 'failed') then
        if last.id is not null then
            ending := format(' Its last run, of %s, %s.', tocsin.told_at(last.scheduled_for),
                tocsin.ending_in_words(last.outcome, last.reason, last.error));
        elsif job.last_outcome is not null then
            ending := format(' Its last run %s.', tocsin.ending_in_words(job.last_outcome, null, null));
        end if;
        if job.run_at is null and job.runs >= job.max_runs then
            return query select 'max_runs', format('Its max_runs of %s are used up.%s', job.max_runs, ending),
                job.last_finished_at, null::timestamptz, jsonb_build_object('max_runs', job.max_runs, 'runs', job.runs);
        elsif job.run_at is null and job.ends_at is not null then
            return query select 'window_ended',
                format('Its schedule has no run left before its ends_at, %s.%s', tocsin.told_at(job.ends_at), ending),
                case when job.ends_at <= now() then job.ends_at end, null::timestamptz,
                jsonb_build_object('ends_at', job.ends_at);
        end if;
        return query select state, case when job.run_at is null then 'Its schedule has no run left.'
                    when job.last_outcome is null then 'Nothing is planned.' else 'Its only run is over.' end
                || ending,
            job.last_finished_at, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                'run', coalesce(last.scheduled_for, job.scheduled_for), 'outcome', coalesce(last.outcome, job.last_outcome),
                'why', last.reason, 'error', left(last.error, 2000), 'execution_id', last.id));
    end if;

    if state in ('scheduled', 'retrying', 'executing') then
        anyone := exists (select from tocsin.connected_instances());
        if anyone and not waits and state <> 'executing' and run.id is not null and not tocsin.is_unplanned(run) then
            return query select * from tocsin.explain_flow(run);
            in_flow := found;
        end if;
        if job.pending_runs > 0 and job.attempt = 0 then
            return query select 'behind_run', case
                    when run.id is null then 'Its plan waits for runs that were asked for, of which none has been started.'
                    else format('Its plan waits for a run that was asked for, %s of %s.',
                        case run.request when 'replay' then 'a replay' when 'backfill' then 'a backfill' else 'a run now' end, tocsin.told_at(run.scheduled_for))
                    end || format(' Runs asked for and not over: %s.', job.pending_runs),
                null::timestamptz, null::timestamptz, jsonb_strip_nulls(jsonb_build_object('run', run.scheduled_for,
                    'request', run.request, 'run_id', run.id, 'pending_runs', job.pending_runs, 'plan', job.next_run));
        end if;
        if waits and state <> 'executing' then
            return query select * from tocsin.explain_wait(job, run, last);
        end if;
        return query
            select 'row_locked', format('A transaction%s has its row locked: pid %s%s. Until it ends the job can neither start nor be settled.',
                    ' open since ' || tocsin.told_at(l.since), coalesce(l.pid::text, 'unknown'),
                    ', ' || quote_literal(nullif(l.application_name, ''))),
                l.since, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                    'pid', l.pid, 'application_name', nullif(l.application_name, '')))
            from tocsin.row_lockers(run.id) as l
            union all
            select 'row_locked', format('A transaction%s has the row of the job locked: pid %s%s. Until it ends its run cannot be settled.',
                    ' open since ' || tocsin.told_at(l.since), coalesce(l.pid::text, 'unknown'),
                    ', ' || quote_literal(nullif(l.application_name, ''))),
                l.since, null::timestamptz, jsonb_strip_nulls(jsonb_build_object(
                    'pid', l.pid, 'application_name', nullif(l.application_name, '')))
            from tocsin.row_lockers(job.id) as l where run.run_of is not null;
        if state <> 'executing' then
            if has_table_privilege('tocsin.resting_jobs', 'select') then
                return query
                    select 'left_alone', format('Instance %s leaves it alone, as it can neither be claimed nor be given an error: %s',
                            r.instance, left(r.problem, 2000)),
                        r.told_at, null::timestamptz, jsonb_build_object('instance', r.instance, 'error', left(r.problem, 2000))
                    from tocsin.resting_jobs r
                    where r.job_id in (job.id, run.id) and r.told_at > now() - interval '3 minutes'
                    order by r.instance;
            end if;
            if not anyone then
                return query select 'no_instance', 'No instance is connected to this database: start one with tocsin scheduler.',
                    null::timestamptz, null::timestamptz, '{}'::jsonb;
            elsif has_table_privilege('tocsin.instance_rules', 'select') and not job.kind = any (tocsin.kinds_alive()) then
                return query select 'kind_absent', format(
                        'No instance that is connected runs jobs of the kind %L, though one did in the last day: start one that has it.',
                        job.kind),
                    null::timestamptz, null::timestamptz, jsonb_build_object('kind', job.kind);
            end if;
            if not waits and run.id is not null and not tocsin.is_unplanned(run) then
                if not anyone then
                    return query select * from tocsin.explain_flow(run);
                    in_flow := found;
                end if;
                return query
                    select w.reason, case when w.reason = 'due' and in_flow then format(
                            'The run of %s is due since %s, and starts once its flow has room for it.',
                            tocsin.told_at((w.facts ->> 'run')::timestamptz), tocsin.told_at(due_at)) else w.detail end, w.since, w.until, w.facts
                    from tocsin.explain_wait(job, run, last) as w;
            end if;
            if tocsin.is_unplanned(job) then
                return query select 'unplanned', 'An instance has yet to plan its schedule, and does so within milliseconds.',
                    job.edited_at, null::timestamptz, '{}'::jsonb;
            end if;
        end if;
        if job.unchecked and job.next_run is not null and job.planned_at is not null then
            return query select 'target_unchecked',
                'An instance has yet to check its target, which was written in SQL; it does so soon, and before the run.',
                job.edited_at, null::timestamptz, '{}'::jsonb;
        end if;
    end if;
    if tocsin.failing(job) and job.attempt = 0 then
        return query select * from tocsin.explain_failing(job, last);
    end if;
end $$;

-- What became of the run of a job that was due at an instant. Its executions are among the first 10,000 of the job that
-- finished from a minute before that on: the runs of a job follow one another.
create or replace function tocsin.explain_past(job tocsin.jobs, due timestamptz)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    plan constant timestamptz := coalesce(job.scheduled_for, job.next_run);
    is_over boolean;  -- as far as the job knows
    kept_from timestamptz;
    names text;
    before tocsin.executions;
    after tocsin.executions;
begin
    is_over := not (coalesce(job.next_run is not null and due in (plan, job.next_run), false) or exists (
        select from tocsin.jobs r where r.run_of = job.id and r.scheduled_for = due));
    if not is_over then
        return query select * from tocsin.explain_present(job);
    elsif due > now() then
        return query select 'ahead', format('That instant lies ahead.%s', ' The next run is planned for ' || tocsin.told_at(plan) || '.'),
            null::timestamptz, due, '{}'::jsonb;
        return query select * from tocsin.explain_present(job);
        return;
    end if;
    return query
        select case when e.outcome = 'missed' then 'missed' else 'executed' end,
            case when e.outcome = 'missed' then case e.reason
                    when 'misfire' then 'It was missed: no instance could start it within its grace.'
                    when 'overlap' then 'It was missed: the run before it was unfinished.'
                    when 'deleted' then 'It was deleted before it was started.'
                    when 'paused' then 'It was missed while the job was paused.'
                    when 'skipped' then 'It was skipped, as was asked for.'
                    when 'calendar' then 'It was missed: its calendars were closed.'
                    when 'maintenance' then 'It was missed: it fell into maintenance.'
                    when 'min_gap' then 'It was missed: it came too soon after the run before.'
                    else format('It was missed%s.', ': ' || e.reason) end
                || case when e.reason not in ('deleted', 'skipped', 'paused') then coalesce(
                        ' ' || upper(left(e.error, 1)) || substr(left(rtrim(e.error, '.'), 1000), 2) || '.', '') else '' end
                || case when e.missed_runs > 1 then format(' So were others, %s from %s to %s.', e.missed_runs,
                    tocsin.told_at(e.scheduled_for), tocsin.told_at(e.missed_until)) else '' end
            else format('Attempt %s of it%s %s at %s%s.', e.attempt, ' on instance ' || left(e.instance, 200),
                tocsin.ending_in_words(e.outcome, e.reason, null), tocsin.told_at(e.finished_at), ': ' || left(rtrim(e.error, '.'), 1000))
            end,
            e.started_at, e.finished_at, jsonb_strip_nulls(jsonb_build_object(
                'run', e.scheduled_for, 'execution_id', e.id, 'attempt', e.attempt, 'outcome', e.outcome,
                'why', left(e.reason, 1000), 'status_code', e.status_code, 'instance', left(e.instance, 1000),
                'error', left(e.error, 2000), 'missed_runs', e.missed_runs, 'missed_until', e.missed_until))
        from (
            select * from tocsin.executions x
            where x.job_id = job.id and x.id >= 0 and x.finished_at >= due - interval '1 minute'
            order by x.id limit 10000
        ) as e
        where e.scheduled_for = due or (e.outcome = 'missed' and due between e.scheduled_for and e.missed_until)
        order by e.id desc limit 100;
    if found or not is_over then
        return;
    end if;
    if due < job.created_at then
        return query select 'not_created', format('The job was created later, at %s.', tocsin.told_at(job.created_at)),
            null::timestamptz, job.created_at, '{}'::jsonb;
        return;
    elsif job.next_run is not null and plan < due then
        return query select 'plan_behind', format('The job has not got that far: its run of %s is not over.', tocsin.told_at(plan)),
            null::timestamptz, null::timestamptz, jsonb_build_object('run', plan);
        return query select * from tocsin.explain_present(job);
        return;
    end if;
    kept_from := (select min(p.starts_at) from tocsin.partitions() as p);
    if due < kept_from then
        return query select 'history_deleted', format(
                'History of that time is not kept: it reaches back to %s.', tocsin.told_at(kept_from)),
            null::timestamptz, kept_from, '{}'::jsonb;
        return;
    end if;
    names := (select string_agg(rule, ', ') from tocsin.rules_on_executions() as rule);
    if names is not null then
        return query select 'suppressed', format('There is no record of a run then; what you put there may have kept it from being written: %s.', names),
            null::timestamptz, null::timestamptz, jsonb_build_object('error', names);
        return;
    end if;
    if job.run_at = due then
        return query select 'history_deleted', 'A run was due then, of which no record is kept.',
            null::timestamptz, null::timestamptz, '{}'::jsonb;
        return;
    end if;
    select * into before from tocsin.executions x
    where x.job_id = job.id and x.id >= 0 and x.finished_at < due order by x.id desc limit 1;
    select * into after from tocsin.executions x
    where x.job_id = job.id and x.id >= 0 and x.finished_at >= due order by x.id limit 1;
    return query select 'not_planned', format('History has no run of it that was due at %s.%s%s', tocsin.told_at(due),
            ' The one before, of ' || tocsin.told_at(before.scheduled_for) || ', '
                || tocsin.ending_in_words(before.outcome, before.reason, null) || '.',
            ' The one after, of ' || tocsin.told_at(after.scheduled_for) || ', '
                || tocsin.ending_in_words(after.outcome, after.reason, null) || '.'),
        before.scheduled_for, after.scheduled_for, jsonb_strip_nulls(jsonb_build_object(
            'before', before.id, 'after', after.id));
end $$;

-- Why a job has not run, or when it will: select * from tocsin.explain('nightly-report'); The first row is what holds it
-- now; the rest is so as well. With an instant: what became of the run that was due then. No row: there is no such job.
-- Takes no lock on any row, and waits at most a second where somebody has a table of Tocsin's locked.
create or replace function tocsin.explain(job uuid, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '1s' as $$
declare
    stored tocsin.jobs;
begin
    select * into stored from tocsin.jobs j where j.id = explain.job and j.run_of is null;
    if stored.id is null then
        return;
    elsif explain.at is null then
        return query select * from tocsin.explain_present(stored);
    else
        return query select * from tocsin.explain_past(stored, explain.at);
    end if;
end $$;

-- Why a job, given by its name or by its id as text, has not run, or when it will: select * from
-- tocsin.explain('nightly-report'); The first row is what holds it now; the rest is so as well. reason is a stable word,
-- detail a sentence, since and until say how long, facts has numbers and names. With an instant (at): what became of the run
-- that was due then. No row: there is no such job. Takes no lock on any row.
create or replace function tocsin.explain(job text, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language sql stable
begin atomic
    select e.*
    from (
        select j.id from tocsin.jobs j where j.name = explain.job
        union all
        select case when explain.job ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then explain.job::uuid end
    ) as found
    cross join lateral tocsin.explain(found.id, explain.at) as e;
end;
