-- db/triggers/4_rules.sql: what a row of jobs may be, rule by rule.

-- What holds for every row, each rule once: its condition, and as an array the column, what is wrong there
-- (%L and %s: with the value) and what to write instead. A rule about several columns lists them. What is
-- null breaks none. Few expressions, because each is planned once for a session and set up anew in each
-- transaction that needs it. Refuses the row for the first rule that it breaks, or returns that one; null: it
-- breaks none.
-- In one function, because Postgres reads and plans the text of constraints anew for every statement: as
-- twenty constraints they took four fifths of the time of an INSERT.
create or replace function tocsin.broken_rule(job tocsin.jobs, refusing boolean)
returns text[] language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    broken text[];
    columns text[];
    rest tocsin.jobs;
    value text;
begin
    broken := case
        when num_nonnulls(job.run_at, job.cron, job.every_seconds) = 0 then
            array['run_at', 'or another schedule is missing',
                'Give exactly one of run_at, cron (with timezone), every_seconds.']
        when num_nonnulls(job.run_at, job.cron, job.every_seconds) > 1 then
            array[case when job.every_seconds is null then 'cron' else 'every_seconds' end, 'is a second schedule',
                'Give exactly one of run_at, cron (with timezone), every_seconds.']
        when job.kind not in ('http', 'amqp') and job.kind !~ '^[a-z][a-z0-9_]{0,62}$' then
            array['kind', '%L is not the name of an executor',
                'Write http, amqp or the name of another installed executor.']
        when jsonb_typeof(job.target) <> 'object' then
            array['target', 'must be a JSON object',
                'For example: {"url": "https://example.com/hook", "method": "POST"}']
        when not tocsin.fits_at_once(job.target, 262144) then
            array['target', 'has more than 262144 bytes as text',
                'Make it smaller; numbers count as they are written out: 1e308 has 309 digits.']
        when tocsin.is_deep(job.target) then
            array['target', 'is nested too deeply', 'Use at most 100 levels.']
        -- 'infinity' and years that Python cannot hold would break every reader of the row.
        when least(job.run_at, job.starts_at, job.ends_at, job.next_run, job.scheduled_for,
                    job.planned_at, job.paused_at, job.locked_until, job.claimed_at, job.claimed_for,
                    job.last_finished_at, job.created_at, job.updated_at, job.edited_at) < '2000-01-01 00:00Z'
                or greatest(job.run_at, job.starts_at, job.ends_at, job.next_run, job.scheduled_for,
                    job.planned_at, job.paused_at, job.locked_until, job.claimed_at, job.claimed_for,
                    job.last_finished_at, job.created_at, job.updated_at, job.edited_at) > '2200-01-01 00:00Z' then
            array['run_at starts_at ends_at next_run scheduled_for planned_at paused_at locked_until '
                    'claimed_at claimed_for last_finished_at created_at updated_at edited_at',
                'is out of range', 'Write instants from the year 2000 to 2200; infinity is none.']
        when greatest(length(job.locked_by), length(job.created_by), length(job.created_as),
                    length(job.created_with)) > 500
                or length(job.plan_error) > 10000 then
            array['plan_error locked_by created_by created_as created_with', 'is too long', 'Leave it to the instances.']
    end;
    -- What most one-offs leave null, and what they leave at its default, breaks no rule.
    if broken is null and num_nonnulls(job.name, job.description, job.cron, job.every_seconds, job.starts_at,
            job.ends_at, job.max_runs, job.misfire_grace_seconds, job.execution_id, job.claimed_at,
            job.claimed_for, job.claimed_attempt, job.run_of, job.request, job.last_outcome,
            job.skip_runs, job.skip_until, job.flow_key,
            job.resumed_at, job.resume_missed, job.jitter_seconds, job.jitter_percent,
            job.calendars, job.min_gap_seconds) > 0 then
        broken := case
            -- A pattern that counts its characters, or is long, takes twenty times as long as one that finds one.
            when length(job.name) not between 1 and 200 or job.name ~ ('[/[:cntrl:]' || chr(128) || '-' || chr(159) || ']') then
                array['name', 'is empty, too long or has a slash or control character',
                    'Use 1 to 200 characters without "/".']
            when length(job.name) = 36 and job.name ~ '^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$' then
                array['name', '%L looks like an id', 'Choose another name.']
            when length(job.description) > 10000 then
                array['description', 'is too long', 'Use at most 10000 characters.']
            -- The form alone; an instance judges the rest. Units may have a letter beyond ASCII: the micro sign.
            when length(job.cron) > 128 or job.cron !~* ('^[[:space:]]*((CRON_)?TZ=[^[:space:]]*[[:space:]]+)*'
                    '(@every[[:space:]]*(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|[^ -~]s|ms|s|m|h))+|@(?!every)[a-z]+'
                    '|([^[:space:]@][^[:space:]]*[[:space:]]+){4,6}[^[:space:]]+)[[:space:]]*$') then
                array['cron', '%L has neither 5, 6 nor 7 fields nor a known form',
                    'Write minute hour day month weekday, for example ''0 3 * * *''; six fields start with seconds, '
                        'seven end with the year; or an alias such as @daily; or @every 1h30m.']
            when job.every_seconds not between 0.1 and 157680000 then
                array['every_seconds', '%s is out of range',
                    'Write seconds from 0.1 to 157680000 (five years), for example 90.']
            when job.starts_at >= job.ends_at then
                array['ends_at', 'is not later than starts_at', 'Let the window end after it starts.']
            when job.max_runs < 1 then
                array['max_runs', 'must be at least 1', 'Leave it null for no limit.']
            when job.misfire_grace_seconds not between 0 and 3155760000 then
                array['misfire_grace_seconds', 'must be from 0 to 3155760000', 'Leave it null for the default.']
            when num_nonnulls(job.execution_id, job.claimed_at, job.claimed_for, job.claimed_attempt) not in (0, 4) then
                array['execution_id', 'and claimed_at to claimed_attempt are not null together',
                    'Set none of them: instances do. To free a lease set locked_until to null.']
            when job.request not in ('run_now', 'replay', 'backfill', 'planned') or (job.request is null) <> (job.run_of is null) then
                array['request', 'is not what a run of its own has',
                    'Leave it out; to run a job now: select tocsin.run_now(id).']
            when job.last_outcome not in ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'missed') then
                array['last_outcome', '%L is unknown', 'Leave it to the instances.']
            when job.jitter_seconds not between 0 and 31557600 then
                array['jitter_seconds', 'must be from 0 to 31557600', 'Leave it null for none.']
            when job.jitter_percent not between 0 and 100 then
                array['jitter_percent', 'must be from 0 to 100', 'Leave it null for none.']
            when job.run_at is not null and num_nonnulls(job.jitter_seconds, job.jitter_percent) > 0 then
                array['jitter_seconds jitter_percent', 'is for recurring jobs',
                    'Write the instant that you want into run_at.']
            when num_nonnulls(job.jitter_seconds, job.jitter_percent) = 2 then
                array['jitter_percent', 'is given beside jitter_seconds', 'Leave one of them out.']
            when (job.jitter_seconds < 0.000001 and job.jitter_seconds <> 0)
                    or (job.jitter_percent < 0.000001 and job.jitter_percent <> 0)
                    or greatest(scale(job.jitter_seconds), scale(job.jitter_percent)) > 100 then
                array['jitter_seconds jitter_percent', 'is too small or too exact',
                    'Write 0 or at least 0.000001, with at most 100 decimal places.']
            when job.skip_runs not between 1 and 1000 then
                array['skip_runs', 'must be from 1 to 1000', 'Leave it null to skip none.']
            when job.skip_until not between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' then
                array['skip_until', 'is out of range', 'Write an instant from the year 2000 to 2200, or null to skip none.']
            when job.flow_key !~ ('^[^*/[:cntrl:]' || chr(128) || '-' || chr(159) || ']{1,200}$') then
                array['flow_key', 'is empty, too long or has a slash, an asterisk or a control character',
                    'Use 1 to 200 characters without "/" and "*", for example api.example.com:443.']
            when job.resumed_at not between '2000-01-01 00:00Z' and '2200-01-01 00:00Z' then
                array['resumed_at', 'is out of range', 'Leave it to tocsin.resume.']
            when job.resume_missed not in ('skip', 'once', 'all') then
                array['resume_missed', '%L is unknown', 'Write skip, once or all; or use tocsin.resume.']
            when cardinality(job.calendars) > 20 or array_ndims(job.calendars) > 1 or array_position(job.calendars, null) is not null
                    or array_to_string(job.calendars, ',') !~ ('^(!?[^!,/[:cntrl:]' || chr(128) || '-' || chr(159) || '][^,/[:cntrl:]'
                        || chr(128) || '-' || chr(159) || ']{0,99}(,|$))*$') then
                array['calendars', 'are too many, or have something that is no name of a calendar',
                    'Write up to 20 names, for example {business-hours,!holidays}; null for none.']
            when job.min_gap_seconds not between 0.000001 and 31557600 or scale(job.min_gap_seconds) > 100 then
                array['min_gap_seconds', 'must be from 0.000001 to 31557600', 'Leave it null for no gap.']
        end;
    end if;
    if broken is null and row(job.tags, job.metadata, job.timezone, job.dst_gap, job.dst_overlap, job.misfire,
            job.max_attempts, job.backoff_seconds, job.backoff_max_seconds, job.timeout_seconds, job.max_catchup,
            job.attempt, job.fence, job.runs, job.consecutive_failures, job.pending_runs, job.every_seconds,
            job.misfire_grace_seconds, job.execution_id, job.claimed_attempt, job.overlap, job.priority, job.on_closed)
        is distinct from row('{}'::text[], '{}'::jsonb, 'UTC', 'run_after', 'first', 'run_once',
            5, 5, 3600, 30, 100, 0, 0, 0, 0, 0, null, null, null, null, 'buffer_all', 0, 'skip') then
        broken := case
            when array_ndims(job.tags) > 1 or array_position(job.tags, null) is not null then
                array['tags', 'must be a list of texts, without lists or nulls', 'For example: {billing,nightly}']
            when cardinality(job.tags) > 100
                    or array_to_string(job.tags, chr(10)) ~ ('[^' || chr(10) || ']{201}')
                    or octet_length(array_to_string(job.tags, '')) > 80000 then
                array['tags', 'are too many or too long', 'Use at most 100 tags of 200 characters.']
            when array_to_string(job.tags, '') ~ ',' or array_position(job.tags, '') is not null then
                array['tags', 'has a tag that is empty or has a comma, which separates tags in filters',
                    'For example: {billing,nightly}']
            when jsonb_typeof(job.metadata) <> 'object' then
                array['metadata', 'must be a JSON object', 'For example: {"team": "billing"}']
            when not tocsin.fits_at_once(job.metadata, 65536) then
                array['metadata', 'has more than 65536 bytes as text',
                    'Make it smaller; numbers count as they are written out: 1e308 has 309 digits.']
            when tocsin.is_deep(job.metadata) then
                array['metadata', 'is nested too deeply', 'Use at most 100 levels.']
            when length(job.timezone) > 100 then
                array['timezone', 'is too long', 'Write an IANA name such as UTC or Europe/Paris.']
            when job.max_attempts not between 1 and 1000 then
                array['max_attempts', 'must be from 1 to 1000', 'It includes the first attempt: 1 means no retry.']
            when job.backoff_seconds not between 0 and 31557600 then
                array['backoff_seconds', 'must be from 0 to 31557600',
                    'It is the wait before the first retry; later ones double it.']
            when job.backoff_max_seconds not between 0 and 31557600 then
                array['backoff_max_seconds', 'must be from 0 to 31557600', 'It caps the wait between retries.']
            when job.timeout_seconds not between 0.1 and 86400 then
                array['timeout_seconds', 'must be from 0.1 to 86400', 'It limits one execution.']
            when job.misfire not in ('run_once', 'skip', 'run_all') then
                array['misfire', '%L is unknown', 'Write run_once, skip or run_all.']
            -- A numeric may be too small, and have too many digits, for a double.
            when (job.backoff_seconds < 0.000001 and job.backoff_seconds <> 0)
                    or (job.backoff_max_seconds < 0.000001 and job.backoff_max_seconds <> 0)
                    or (job.misfire_grace_seconds < 0.000001 and job.misfire_grace_seconds <> 0)
                    or greatest(scale(job.every_seconds), scale(job.backoff_seconds), scale(job.backoff_max_seconds),
                        scale(job.timeout_seconds), scale(job.misfire_grace_seconds)) > 100 then
                array['every_seconds timeout_seconds backoff_seconds backoff_max_seconds misfire_grace_seconds',
                    'is too small or too exact', 'Write 0 or at least 0.000001, with at most 100 decimal places.']
            when job.max_catchup not between 0 and 10000 then
                array['max_catchup', 'must be from 0 to 10000', 'It limits how many missed runs misfire run_all makes up for.']
            when job.overlap not in ('skip', 'buffer_one', 'buffer_all', 'cancel_other', 'allow_all') then
                array['overlap', '%L is unknown', 'Write skip, buffer_one, buffer_all, cancel_other or allow_all.']
            when job.priority not between 0 and 3 then
                array['priority', 'must be from 0 to 3', '0 is the usual one; a higher one goes first where jobs have to wait.']
            when job.on_closed not in ('skip', 'next_open') then
                array['on_closed', '%L is unknown', 'Write skip or next_open.']
            when job.dst_gap not in ('run_after', 'skip') then
                array['dst_gap', '%L is unknown', 'Write run_after or skip.']
            when job.dst_overlap not in ('first', 'last', 'both') then
                array['dst_overlap', '%L is unknown', 'Write first, last or both.']
            -- What counts can count on.
            when job.attempt not between 0 and 1000000 or job.claimed_attempt not between 0 and 1000000 then
                array['attempt claimed_attempt', 'is out of range', 'Leave it to the instances; 0 begins the run anew.']
            when least(job.fence, job.runs, job.execution_id, job.consecutive_failures, job.pending_runs) < 0
                    or greatest(job.fence, job.runs, job.execution_id) > 4611686018427387903 then
                array['fence runs consecutive_failures pending_runs execution_id', 'is out of range',
                    'Leave it to the instances, which count it.']
        end;
    end if;
    if broken is null or not refusing then
        return broken;
    end if;
    -- Of several columns the first at fault is named: without those from there on the row keeps the rule.
    columns := string_to_array(broken[1], ' ');
    rest := job;
    for place in reverse cardinality(columns)..2 loop
        rest := jsonb_populate_record(rest, jsonb_build_object(columns[place], null));
        exit when tocsin.broken_rule(rest, false) is distinct from broken;
        columns := columns[:place - 1];
    end loop;
    if position('%' in broken[2]) > 0 then  -- else it may be endless
        execute format('select left(($1).%I::text, 140)', columns[cardinality(columns)]) into value using job;
    end if;
    perform tocsin.refuse(columns[cardinality(columns)], format(broken[2], value), broken[3]);
    return broken;
end $$;
