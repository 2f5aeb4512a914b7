-- db/triggers/9_comments.sql: what tables and columns are, as psql shows it. What stands above a function or a view in these
-- files becomes its comment by itself: see tests/support/triggers.py.

comment on table tocsin.schema_migrations is
    'The migrations that this database has, one row each; tocsin migrate enters them.';
comment on column tocsin.schema_migrations.version is 'Number of the file in db/migrations, from 1.';
comment on column tocsin.schema_migrations.breaking is 'Whether an instance that was built for an older version must not run.';
comment on column tocsin.schema_migrations.applied_at is 'When the migration was carried out.';

comment on table tocsin.schema_functions is
    'What tocsin migrate applied of db/triggers.sql, in one row: where both digests are the same nothing is left to do.';
comment on column tocsin.schema_functions.one is 'Always true: there is one row.';
comment on column tocsin.schema_functions.source is 'Digest of the script that was applied.';
comment on column tocsin.schema_functions.catalog is 'Digest of the functions and triggers that were found afterwards.';
comment on column tocsin.schema_functions.release is 'Release of Tocsin that applied it; an older one replaces nothing.';
comment on column tocsin.schema_functions.applied_at is 'When that was.';

comment on table tocsin.jobs is
    'Jobs: what to do (kind, target), when (one of run_at, cron, every_seconds), and how each stands. People write the columns down to paused_at, overlap, skip_runs, skip_until, flow_key, and from jitter_seconds on; triggers and instances keep the rest. An INSERT, UPDATE or DELETE takes effect with COMMIT, which wakes the instances. A value that is out of range is refused (23514) with its column and a hint.';
comment on column tocsin.jobs.id is 'Made by tocsin.uuid7(), so that ids are in the order of their creation.';
comment on column tocsin.jobs.name is 'Unique where it is not null; 1 to 200 characters without "/" and control characters, nothing that looks like an id, and none of tocsin.is_reserved.';
comment on column tocsin.jobs.description is 'For people; up to 10,000 characters.';
comment on column tocsin.jobs.tags is 'Words to find jobs by and to pause them: up to 100 of up to 200 characters, without commas.';
comment on column tocsin.jobs.metadata is 'Yours: a JSON object of up to 65,536 bytes as Postgres writes it out. Tocsin reads "metrics" (true: metrics of its own) and "traceparent".';
comment on column tocsin.jobs.kind is 'Which executor carries the job out: http, amqp, smtp, check, or another one that is installed.';
comment on column tocsin.jobs.target is 'The instructions of the kind, such as {"url": "https://example.com/hook"}: a JSON object of up to 262,144 bytes. Secrets are named as ${secret:NAME}.';
comment on column tocsin.jobs.run_at is 'Once, at this instant. Exactly one of run_at, cron and every_seconds is given.';
comment on column tocsin.jobs.cron is 'Recurring: 5 fields, 6 with seconds first, 7 with the year last, an alias such as @daily, or @every 1h30m; up to 128 characters.';
comment on column tocsin.jobs.timezone is 'Whose clocks the cron means: an IANA name, such as Europe/Paris.';
comment on column tocsin.jobs.every_seconds is 'Recurring: seconds from run to run, from 0.1 to 157,680,000 (five years).';
comment on column tocsin.jobs.dst_gap is 'What becomes of a cron''s wall time that the clocks skip: run_after runs when the clocks have moved, skip leaves it out.';
comment on column tocsin.jobs.dst_overlap is 'Of a cron''s wall time that comes twice: first, last or both.';
comment on column tocsin.jobs.starts_at is 'A recurring job has no run before this instant; null: no bound.';
comment on column tocsin.jobs.ends_at is 'A recurring job has no run from this instant on; null: no bound.';
comment on column tocsin.jobs.max_runs is 'After so many runs a recurring job is over, from 1; null: no bound.';
comment on column tocsin.jobs.max_attempts is 'How often a run is tried, the first time included: from 1 to 1,000.';
comment on column tocsin.jobs.backoff_seconds is 'Seconds before the first retry, doubled with each: 0 to 31,557,600.';
comment on column tocsin.jobs.backoff_max_seconds is 'The longest wait before a retry in seconds: 0 to 31,557,600.';
comment on column tocsin.jobs.timeout_seconds is 'How long one execution may take in seconds: 0.1 to 86,400.';
comment on column tocsin.jobs.misfire is 'What becomes of runs that nobody could start within misfire_grace_seconds: run_once carries the latest out, run_all up to max_catchup, skip none.';
comment on column tocsin.jobs.misfire_grace_seconds is 'So late in seconds a run may start: 0 to 3,155,760,000; null: 60 for a recurring job, no limit for a one-off.';
comment on column tocsin.jobs.max_catchup is 'How many missed runs misfire run_all carries out at most: 0 to 10,000.';
comment on column tocsin.jobs.paused_at is 'Since when the job is paused, and not claimed; null: it is not. tocsin.pause says why and until when as well.';
comment on column tocsin.jobs.next_run is 'The earliest instant at which the job may be claimed; of a spread run its effective one; null: nothing is planned.';
comment on column tocsin.jobs.scheduled_for is 'The nominal instant of the run that next_run is for, by which the run is known.';
comment on column tocsin.jobs.attempt is 'Attempts of that run so far; 0: it has not begun.';
comment on column tocsin.jobs.planned_at is 'When next_run was worked out; null: an instance has yet to.';
comment on column tocsin.jobs.plan_error is 'Why the job cannot be planned or executed, with the remedy; null: it can.';
comment on column tocsin.jobs.locked_until is 'End of the lease of the instance that executes the job; null: nobody does. Setting null takes the lease away.';
comment on column tocsin.jobs.locked_by is 'The instance that has, or had last, the lease: host:pid:xxxx.';
comment on column tocsin.jobs.fence is 'Raised by each claim; who extends or settles a lease has to know it.';
comment on column tocsin.jobs.claimed_at is 'When the execution under way, or the one held for a moment, was claimed.';
comment on column tocsin.jobs.claimed_for is 'The run, by its nominal instant, of the execution that has the lease.';
comment on column tocsin.jobs.claimed_attempt is 'Ordinal, from 1, of the attempt that has the lease.';
comment on column tocsin.jobs.execution_id is 'The execution that has the lease, as tocsin.executions will have it.';
comment on column tocsin.jobs.validated is 'Whether the row was found sound before its first claim; claims do not judge it again.';
comment on column tocsin.jobs.unchecked is 'Whether an instance has yet to check the target; null: the run does, as it comes soon.';
comment on column tocsin.jobs.run_of is 'Of a run beside the plan, which is a row of its own: the job that it is of; null: this is a job.';
comment on column tocsin.jobs.request is 'What asked for a run beside the plan: run_now, replay, backfill or planned; null: this is a job.';
comment on column tocsin.jobs.pending_runs is 'How many runs beside the plan are not over; the plan waits for them, but with overlap allow_all.';
comment on column tocsin.jobs.last_outcome is 'How the last run ended: succeeded, failed, timed_out, cancelled, lost or missed; null: none has.';
comment on column tocsin.jobs.last_finished_at is 'When the last run ended.';
comment on column tocsin.jobs.consecutive_failures is 'How many runs in a row did not succeed up to now; 0 again with the first that does.';
comment on column tocsin.jobs.runs is 'Runs of the plan that are over.';
comment on column tocsin.jobs.created_at is 'When the row was written first.';
comment on column tocsin.jobs.updated_at is 'When it was written last, by whomever; triggers of users may set it.';
comment on column tocsin.jobs.edited_at is 'When a person last edited it, by which instances tell that the plan was moved.';
comment on column tocsin.jobs.creation is 'Number of the creation in the audit log while it has no row there yet.';
comment on column tocsin.jobs.created_by is 'Who created it, as tocsin.actor() says.';
comment on column tocsin.jobs.created_as is 'The database user that created it.';
comment on column tocsin.jobs.created_with is 'application_name of the session that created it.';
comment on column tocsin.jobs.overlap is 'What becomes of a run that comes due while the one before is unfinished: buffer_all waits, buffer_one keeps one waiting, skip misses it, cancel_other cuts the other off, allow_all goes beside it.';
comment on column tocsin.jobs.skip_runs is 'So many runs of the plan are dropped when their time comes, 1 to 1,000; null: none.';
comment on column tocsin.jobs.skip_until is 'All runs of the plan before this instant are dropped; null: none.';
comment on column tocsin.jobs.flow_key is 'Jobs with the same key share the limits of that flow in tocsin.flows: 1 to 200 characters without "/" and "*".';
comment on column tocsin.jobs.resumed_at is 'What was due up to this instant was missed by a pause, and is treated as resume_missed says.';
comment on column tocsin.jobs.resume_missed is 'What becomes of the runs that a pause has missed: skip, once or all; null: as misfire says.';
comment on column tocsin.jobs.jitter_seconds is 'The starts of runs are spread over so many seconds, by a hash of job and instant: 0 to 31,557,600; null: none.';
comment on column tocsin.jobs.jitter_percent is 'The same as a share of the time to the next run: 0 to 100; null: none. Not beside jitter_seconds.';
comment on column tocsin.jobs.priority is 'Where more is due than can start a level counts as a minute of waiting: 0, the usual one, to 3.';
comment on column tocsin.jobs.calendars is 'Names of up to 20 calendars that the job keeps to or, with "!" before the name, avoids; null: none.';
comment on column tocsin.jobs.on_closed is 'What becomes of a run in closed time: skip misses it, next_open starts it at the opening.';
comment on column tocsin.jobs.min_gap_seconds is 'So many seconds after the end of a run the next one starts at the earliest: 0.000001 to 31,557,600; null: no gap.';

comment on table tocsin.pauses is
    'What is paused: one job (job_id), all that have a tag, or, with neither, everything. tocsin.pause, pause_tag and pause_all write it.';
comment on column tocsin.pauses.id is 'Names the pause for tocsin.end_pause.';
comment on column tocsin.pauses.job_id is 'The job that is paused; null: a tag or everything.';
comment on column tocsin.pauses.held_by is 'Of a job: the pause of a tag that pauses it; null: it is paused by itself.';
comment on column tocsin.pauses.tag is 'All jobs that have this tag are paused; null: not by a tag.';
comment on column tocsin.pauses.reason is 'Why, for people: up to 1,000 characters.';
comment on column tocsin.pauses.until is 'The instant at which it ends by itself; null: until somebody ends it.';
comment on column tocsin.pauses.paused_at is 'When it was written.';
comment on column tocsin.pauses.paused_by is 'Who paused, as tocsin.actor() says.';
comment on column tocsin.pauses.ends_at is 'As until; later if it could not be ended then.';
comment on column tocsin.pauses.scope is '0: everything, 1: a tag, 2: one job.';

comment on table tocsin.checks is
    'Address and latest pings of each job of the kind check that has had an address.';
comment on column tocsin.checks.job_id is 'The job, of the kind check.';
comment on column tocsin.checks.token_digest is 'SHA-256 of the token in the address; null: it was revoked.';
comment on column tocsin.checks.token_made_at is 'When tocsin.check_token made it.';
comment on column tocsin.checks.started_at is 'When the latest ping came that said that a run begins.';
comment on column tocsin.checks.ended_at is 'When the latest ping came that said that a run has ended, well or not.';
comment on column tocsin.checks.log is 'What pings said since started_at: up to 20,000 characters.';
comment on column tocsin.checks.minute_at is 'Begins the minute in which pings are counted.';
comment on column tocsin.checks.pings is 'How many came in that minute; more than 60 are limited.';

comment on table tocsin.polling is
    'Until when instances poll, so that writers need not notify: one row, empty after a crash.';
comment on column tocsin.polling.one is 'Always true: there is one row.';
comment on column tocsin.polling.polling_until is 'Up to this instant no notification is sent.';

comment on table tocsin.executions is
    'The history: one row for each attempt that was carried out, and one for runs that were missed. It outlives its job, and is pruned by days, which are its partitions.';
comment on column tocsin.executions.id is 'Drawn when the attempt is claimed, so that ids are in the order of claims.';
comment on column tocsin.executions.job_id is 'The job, which may be gone.';
comment on column tocsin.executions.fence is 'That of the claim; null: a missed run.';
comment on column tocsin.executions.kind is 'Kind of the job then.';
comment on column tocsin.executions.scheduled_for is 'The run, by its nominal instant; of several missed ones the first.';
comment on column tocsin.executions.attempt is 'Ordinal, from 1, within the run; null: a missed run.';
comment on column tocsin.executions.outcome is 'succeeded, failed, timed_out, cancelled, lost or missed.';
comment on column tocsin.executions.reason is 'One stable word that says more, such as status, connect, calendar or skipped: see docs/reliability.md.';
comment on column tocsin.executions.started_at is 'When the request went out; null: none did.';
comment on column tocsin.executions.finished_at is 'When it ended; the row is in the partition of that day (UTC).';
comment on column tocsin.executions.instance is 'Who carried it out: host:pid:xxxx.';
comment on column tocsin.executions.status_code is 'Status of the answer by HTTP; null: there was none.';
comment on column tocsin.executions.response is 'The beginning of the answer, with secrets replaced by ***.';
comment on column tocsin.executions.error is 'What went wrong, as a sentence.';
comment on column tocsin.executions.missed_runs is 'How many runs a missed row stands for; null: it is an attempt.';
comment on column tocsin.executions.missed_until is 'The last of these runs, by its nominal instant.';

comment on table tocsin.upkeep is
    'How housekeeping stands, a row for each of its steps.';
comment on column tocsin.upkeep.step is 'Name of the step, such as prune.';
comment on column tocsin.upkeep.done_at is 'When it last came to its end.';
comment on column tocsin.upkeep.refused is 'How many rows refused to go, the last time.';
comment on column tocsin.upkeep.failed_at is 'When it last failed; null: not since done_at.';
comment on column tocsin.upkeep.error is 'Why it failed.';

comment on table tocsin.trusted_clock is
    'How far history may be pruned, in one row: a clock that jumped ahead must not end what is kept.';
comment on column tocsin.trusted_clock.one is 'Always true: there is one row.';
comment on column tocsin.trusted_clock.trusted is 'The instant up to which the clock is trusted.';
comment on column tocsin.trusted_clock.shown is 'What the clock showed at the last pass of housekeeping.';

comment on table tocsin.zone_rules is
    'Rules of time zones that runs were planned by, to tell what a newer release of them moves.';
comment on column tocsin.zone_rules.version is 'Release of the IANA database, such as 2026f; empty: not known.';
comment on column tocsin.zone_rules.zones is 'All of its files, packed.';
comment on column tocsin.zone_rules.walking_until is 'Until when an instance has the walk over the jobs to itself; null: none is at it.';
comment on column tocsin.zone_rules.walked_at is 'When the walk came to its end; null: plans by older rules may be left.';

comment on table tocsin.instance_rules is
    'What each instance is and goes by, as it says hourly.';
comment on column tocsin.instance_rules.name is 'The instance: host:pid:xxxx.';
comment on column tocsin.instance_rules.version is 'Release of the time zone rules that it has.';
comment on column tocsin.instance_rules.source is 'Where it has these from: system or package.';
comment on column tocsin.instance_rules.told_at is 'When it last said so.';
comment on column tocsin.instance_rules.slots is 'How many executions it has room for.';
comment on column tocsin.instance_rules.product is 'Release of Tocsin that it runs.';
comment on column tocsin.instance_rules.kinds is 'Which kinds of jobs it runs; null: http and amqp.';

comment on table tocsin.resting_jobs is
    'Of each instance how many jobs it leaves alone, as they can neither be claimed nor be given a plan_error; said each minute while there are any.';
comment on column tocsin.resting_jobs.instance is 'Who says so: host:pid:xxxx.';
comment on column tocsin.resting_jobs.jobs is 'How many jobs, from 1.';
comment on column tocsin.resting_jobs.job_id is 'One of them.';
comment on column tocsin.resting_jobs.problem is 'Why that one cannot be claimed.';
comment on column tocsin.resting_jobs.told_at is 'When that was said.';

comment on table tocsin.kinds is
    'Which kinds of jobs some instance can run, as each says at its start and hourly.';
comment on column tocsin.kinds.kind is 'Name of the kind, as jobs have it.';
comment on column tocsin.kinds.told_at is 'When an instance last said so.';
comment on column tocsin.kinds.shown is 'Which parts of targets the audit log keeps: see tocsin.audited_targets.';

comment on table tocsin.calendars is
    'Named sets of time that jobs keep to or avoid: the union of dates, weekly hours, holidays, rules and events. People write the columns from description to ical.';
comment on column tocsin.calendars.name is 'Up to 100 characters without "!" at the front, comma and "/".';
comment on column tocsin.calendars.description is 'For people; up to 10,000 characters.';
comment on column tocsin.calendars.timezone is 'Whose clocks are meant: an IANA name.';
comment on column tocsin.calendars.dates is 'Days, or spans of days or hours, such as 2026-12-24 or 2026-12-24/2026-12-31.';
comment on column tocsin.calendars.weekly is 'Hours of weekdays, such as "MON-FRI 09:00-17:00"; "*" is always.';
comment on column tocsin.calendars.holidays is 'Public holidays by country or region, such as DE or DE-BY.';
comment on column tocsin.calendars.rrules is 'Rules of RFC 5545, such as "DTSTART:20260101 RRULE:FREQ=MONTHLY".';
comment on column tocsin.calendars.ical is 'Text of an .ics file, whose events count: up to 262,144 bytes.';
comment on column tocsin.calendars.times is 'The time of the calendar, worked out from a year ago to five years ahead; null: it has yet to be.';
comment on column tocsin.calendars.worked_out_at is 'When that was; null: what is written was changed since.';
comment on column tocsin.calendars.error is 'Why it cannot be worked out; the jobs that use the calendar are invalid then.';
comment on column tocsin.calendars.replan_after is 'The jobs behind this one have yet to be replanned by these times; null: none have.';
comment on column tocsin.calendars.created_at is 'When it was made.';
comment on column tocsin.calendars.updated_at is 'When it was last changed.';
comment on column tocsin.calendars.id is 'By which the audit log knows it.';

comment on table tocsin.job_calendars is
    'Which jobs use which calendars; triggers keep it.';
comment on column tocsin.job_calendars.calendar is 'Name of the calendar.';
comment on column tocsin.job_calendars.job_id is 'The job that keeps to it or avoids it.';

comment on table tocsin.maintenance is
    'Windows, laid over a tag or over all jobs: runs that are due in one are missed, or start when it is over. tocsin.maintain writes it.';
comment on column tocsin.maintenance.id is 'Names the window for tocsin.end_maintenance.';
comment on column tocsin.maintenance.tag is 'The jobs with this tag are concerned; null: all jobs.';
comment on column tocsin.maintenance.calendar is 'The window has the time of this calendar; null: that from starts_at to ends_at.';
comment on column tocsin.maintenance.starts_at is 'First instant; null with a calendar.';
comment on column tocsin.maintenance.ends_at is 'First instant after it; null with a calendar.';
comment on column tocsin.maintenance.on_closed is 'skip: runs are missed, reason maintenance; next_open: they start when it is over.';
comment on column tocsin.maintenance.reason is 'Why, for people: up to 1,000 characters.';
comment on column tocsin.maintenance.created_at is 'When it was laid.';
comment on column tocsin.maintenance.updated_at is 'When it was last changed: kept by a trigger.';
comment on column tocsin.maintenance.created_by is 'Who did so, as tocsin.actor() says.';

comment on table tocsin.put_off_runs is
    'Jobs whose run a window has put off, for when it ends sooner, or later.';
comment on column tocsin.put_off_runs.job_id is 'The job whose run waits for the end of the window.';
comment on column tocsin.put_off_runs.window_id is 'The window; null: it has changed since.';
comment on column tocsin.put_off_runs.until is 'The instant to which the run was put off.';

comment on table tocsin.flows is
    'Limits that jobs with the same flow_key share over all instances. A key with an asterisk is a pattern: of what a flow leaves null it has what the longest pattern says that matches.';
comment on column tocsin.flows.flow_key is 'As jobs have it, or a pattern such as tenant-*.';
comment on column tocsin.flows.max_concurrency is 'Executions at the same time, over all instances: 1 to 1,000,000; null: no limit.';
comment on column tocsin.flows.rate is 'Starts in any period_seconds: 1 to 1,000,000; null: no limit.';
comment on column tocsin.flows.period_seconds is 'Seconds that the rate is for: 0.1 to 31,557,600.';
comment on column tocsin.flows.burst is 'Starts in any period_seconds * burst / rate; null: as many as the rate.';
comment on column tocsin.flows.paused_at is 'Since when none of its jobs starts, until paused_until; null: the flow is not paused.';
comment on column tocsin.flows.pause_reason is 'Why it is paused, for those who wonder later: up to 1,000 characters.';
comment on column tocsin.flows.paused_until is 'When the pause ends by itself; null: when somebody resumes the flow.';
comment on column tocsin.flows.paused_by is 'Who paused it.';
comment on column tocsin.flows.created_at is 'When it was made.';
comment on column tocsin.flows.updated_at is 'When it was last changed.';
comment on column tocsin.flows.id is 'By which the audit log knows it.';

comment on table tocsin.flow_states is
    'How each flow stands; instances lock its row while they give permits.';
comment on column tocsin.flow_states.flow_key is 'Which flow, by the key that jobs have.';
comment on column tocsin.flow_states.held_until is 'What the target asked for, by Retry-After: nothing starts before this instant.';
comment on column tocsin.flow_states.held_for is 'Why, as a sentence.';
comment on column tocsin.flow_states.waiting_since is 'Since when some of its jobs wait for a permit; null: none do.';

comment on table tocsin.flow_starts is
    'Starts of flows that have a rate, kept as long as they count.';
comment on column tocsin.flow_starts.flow_key is 'Which flow, by the key that jobs have.';
comment on column tocsin.flow_starts.granted_at is 'When the permits were given.';
comment on column tocsin.flow_starts.instance is 'To whom: host:pid:xxxx.';
comment on column tocsin.flow_starts.many is 'How many starts one instance claimed in one look.';
comment on column tocsin.flow_starts.latest is 'When the last of them started at the latest.';

comment on table tocsin.api_keys is
    'Who may use the API. Of a key only its digest is kept; tocsin keys create shows it once.';
comment on column tocsin.api_keys.id is 'By which the audit log knows it.';
comment on column tocsin.api_keys.name is 'For people; unique among those that are not revoked.';
comment on column tocsin.api_keys.prefix is 'The part of the key that may be shown: 12 hexadecimal digits.';
comment on column tocsin.api_keys.hash is 'SHA-256 of the key.';
comment on column tocsin.api_keys.scopes is 'Any of read, write and admin.';
comment on column tocsin.api_keys.created_at is 'When it was made.';
comment on column tocsin.api_keys.expires_at is 'From this instant on it is refused; null: never.';
comment on column tocsin.api_keys.last_used_at is 'When it was last used, to the minute; null: never.';
comment on column tocsin.api_keys.revoked_at is 'Since when it is refused for good; null: it is not.';
comment on column tocsin.api_keys.max_jobs is 'How many of the jobs that exist it may have made, 1 to 1000000; null: no limit.';
comment on column tocsin.api_keys.min_interval_seconds is 'The shortest time from run to run of schedules that it writes, 0.1 s to five years; null: no limit.';
comment on column tocsin.api_keys.allowed_hosts is 'The hosts, and origins, that jobs it writes may send to; null: no limit.';
comment on column tocsin.api_keys.default_ends_in_seconds is 'After how many seconds recurring jobs end that it writes without ends_at; null: never.';

comment on table tocsin.key_jobs is
    'The jobs that were made with keys that have max_jobs; a row may outlive its job. tocsin.note_key_jobs writes it.';
comment on column tocsin.key_jobs.key_id is 'The API key.';
comment on column tocsin.key_jobs.job_id is 'What was made with it, whether or not it still exists.';

comment on table tocsin.sessions is
    'Sessions of browsers, each made with an API key. Of what the cookie holds only a digest is kept.';
comment on column tocsin.sessions.digest is 'SHA-256 of what the cookie holds.';
comment on column tocsin.sessions.key_id is 'The API key that it was made with, and ends with.';
comment on column tocsin.sessions.created_at is 'When it was made.';
comment on column tocsin.sessions.expires_at is 'From this instant on it is refused.';

comment on table tocsin.audit_log is
    'Who changed what, written by triggers only; secrets are left out. The creation of a job comes here at its first change: until then it is in tocsin.jobs.';
comment on column tocsin.audit_log.id is 'In the order of the changes.';
comment on column tocsin.audit_log.at is 'When the change was made.';
comment on column tocsin.audit_log.actor is 'Who: an API key, or a database user; what a program without the right to say so claims is called a claim.';
comment on column tocsin.audit_log.db_user is 'Who was logged in to the database, whatever the actor says.';
comment on column tocsin.audit_log.program is 'application_name of the session.';
comment on column tocsin.audit_log.action is 'create, update or delete.';
comment on column tocsin.audit_log.entity is 'What was changed: job, key, secret, flow, bulk, pause, alert_rule, alert_channel, calendar or maintenance.';
comment on column tocsin.audit_log.entity_id is 'Of which one, by the id that its row has.';
comment on column tocsin.audit_log.entity_name is 'Its name then.';
comment on column tocsin.audit_log.changed is 'The columns that were changed; null: all, as it was created or deleted.';
comment on column tocsin.audit_log.before is 'What was there before, of these columns; long values by their beginning and a hash.';
comment on column tocsin.audit_log.after is 'What came in its place.';

comment on table tocsin.secrets is
    'Named secrets, which targets refer to as ${secret:NAME}; encrypted, so not to be written from psql: echo -n value | tocsin secrets set NAME';
comment on column tocsin.secrets.id is 'By which the audit log knows it.';
comment on column tocsin.secrets.name is 'Letters, digits, "_", "." and "-": up to 100.';
comment on column tocsin.secrets.value is 'Encrypted with a key of TOCSIN_SECRET_KEYS; good for this name only.';
comment on column tocsin.secrets.hosts is 'Where it may be sent, such as *.example.com; none: anywhere.';
comment on column tocsin.secrets.created_at is 'When it was made.';
comment on column tocsin.secrets.updated_at is 'When its value was last set.';

comment on table tocsin.bulk_actions is
    'Actions on the jobs, or executions, that a filter finds: tocsin.bulk asks for one, instances carry it out in steps.';
comment on column tocsin.bulk_actions.id is 'Names the action for tocsin.cancel_bulk.';
comment on column tocsin.bulk_actions.action is 'edit, delete, pause, resume, run, skip, unskip, reschedule, cancel, replay, redrive or backfill.';
comment on column tocsin.bulk_actions.filter is 'What it is about, as the lists of the API filter: {"tag": "billing"}.';
comment on column tocsin.bulk_actions.options is 'What the action needs besides, such as {"runs": 2}.';
comment on column tocsin.bulk_actions.expected is 'How many were found when it was asked for; null: nobody counted.';
comment on column tocsin.bulk_actions.asked_at is 'When it was asked for; what is created later is left alone.';
comment on column tocsin.bulk_actions.asked_by is 'Who asked, as tocsin.actor() says.';
comment on column tocsin.bulk_actions.started_at is 'When an instance began; null: none has.';
comment on column tocsin.bulk_actions.ended_at is 'When it was over; null: it is not.';
comment on column tocsin.bulk_actions.cancelled_at is 'When a person ended it before its end; what is done stays done.';
comment on column tocsin.bulk_actions.error is 'Why it ended before its end.';
comment on column tocsin.bulk_actions.reached is 'The last job or execution that is done.';
comment on column tocsin.bulk_actions.matched is 'How many the filter has found so far.';
comment on column tocsin.bulk_actions.changed is 'Of these, how many were changed.';
comment on column tocsin.bulk_actions.unchanged is 'Of these, how many already were as asked.';
comment on column tocsin.bulk_actions.failed is 'Of these, how many could not be changed.';
comment on column tocsin.bulk_actions.problems is 'Of the first that failed: their ids and why.';
comment on column tocsin.bulk_actions.locked_until is 'Until when an instance has it to itself.';
comment on column tocsin.bulk_actions.locked_by is 'Which instance: host:pid:xxxx.';
comment on column tocsin.bulk_actions.limits is 'The limits of the API key that asked, to which the edits keep; null: there are none.';

comment on table tocsin.alert_channels is
    'Where alerts go to: each message is a job of the preset''s kind with this target.';
comment on column tocsin.alert_channels.id is 'By which the audit log knows it.';
comment on column tocsin.alert_channels.name is 'By which rules name it; up to 200 characters.';
comment on column tocsin.alert_channels.preset is 'Form of the message: webhook, slack, teams, discord, pagerduty, opsgenie, alertmanager, amqp, smtp or template.';
comment on column tocsin.alert_channels.target is 'The target of the message''s job, without the message; up to 131,072 bytes.';
comment on column tocsin.alert_channels.created_at is 'When it was made.';
comment on column tocsin.alert_channels.updated_at is 'When it was last changed.';
comment on column tocsin.alert_channels.fallback is 'Name of the channel that is told what this one could not deliver; null: none.';

comment on table tocsin.alert_rules is
    'What is told, of which jobs (of one, of those with a tag or, with neither, of all), and by which channels.';
comment on column tocsin.alert_rules.id is 'By which alerts and the audit log know it.';
comment on column tocsin.alert_rules.name is 'For people; unique, up to 200 characters.';
comment on column tocsin.alert_rules.events is 'Which: failed, exhausted, missed, invalid, late, not_succeeded, slow, backlog, no_instance, recovered.';
comment on column tocsin.alert_rules.job_id is 'Of this job only; null: of more.';
comment on column tocsin.alert_rules.tag is 'Of jobs with this tag only; null: not by a tag.';
comment on column tocsin.alert_rules.after is 'So many in a row make it told: 1 to 1,000.';
comment on column tocsin.alert_rules.seconds is 'How late, how long or for how long without a success, in seconds: 1 to 31,557,600.';
comment on column tocsin.alert_rules.reasons is 'Of missed runs, which reasons count; null: all but paused, skipped, calendar and maintenance.';
comment on column tocsin.alert_rules.channels is 'Names of up to 20 channels; none: alerts are on record only.';
comment on column tocsin.alert_rules.created_at is 'When it was made.';
comment on column tocsin.alert_rules.updated_at is 'When it was last changed.';
comment on column tocsin.alert_rules.begun_at is 'What ended earlier is not told of.';
comment on column tocsin.alert_rules.factor is 'Of slow: how many times as long as usual, 1 to 1,000.';
comment on column tocsin.alert_rules.more_than is 'Of backlog: how many jobs, 0 to 100,000.';
comment on column tocsin.alert_rules.remind_seconds is 'So many seconds after it was told a job is told of again while it is not over: 60 to 31,557,600; null: it is not.';

comment on table tocsin.alert_states is
    'How a rule stands for one job: how many of an event came in a row, and whether that was told. No row: all is well.';
comment on column tocsin.alert_states.rule_id is 'Which rule of tocsin.alert_rules.';
comment on column tocsin.alert_states.event is 'Which of its events.';
comment on column tocsin.alert_states.job_id is 'The job; all zeros: of no single one.';
comment on column tocsin.alert_states.many is 'How many in a row, from 1.';
comment on column tocsin.alert_states.execution_id is 'The latest of them.';
comment on column tocsin.alert_states.since is 'End of the first of them.';
comment on column tocsin.alert_states.last_at is 'End of the latest of them.';
comment on column tocsin.alert_states.told_at is 'When it was told; null: it was not.';
comment on column tocsin.alert_states.reminded_at is 'When it was last told again.';
comment on column tocsin.alert_states.counted is 'Of slow: the executions that are counted, the last hundred.';
comment on column tocsin.alert_states.counted_from is 'Of slow: executions up to this one are counted no more.';

comment on table tocsin.alerts is
    'What was told of one job by one channel, or is about to be.';
comment on column tocsin.alerts.id is 'In the order of their time.';
comment on column tocsin.alerts.at is 'When the rule was found to hold.';
comment on column tocsin.alerts.rule_id is 'The rule, which may be gone; null: a test of a channel.';
comment on column tocsin.alerts.rule is 'Name of the rule then.';
comment on column tocsin.alerts.event is 'Which of its events.';
comment on column tocsin.alerts.job_id is 'Of which job; null: of no single one.';
comment on column tocsin.alerts.job is 'Name of the job then.';
comment on column tocsin.alerts.many is 'How many in a row.';
comment on column tocsin.alerts.since is 'End of the first of them.';
comment on column tocsin.alerts.execution_id is 'The latest of them.';
comment on column tocsin.alerts.why is 'What is told, as a sentence.';
comment on column tocsin.alerts.channel is 'Name of the channel; null: on record only.';
comment on column tocsin.alerts.delivery_id is 'The job that delivers it.';
comment on column tocsin.alerts.sent_at is 'When that job was made.';
comment on column tocsin.alerts.delivered_at is 'When the message had arrived; null: it has not.';
comment on column tocsin.alerts.failed_at is 'When its delivery was given up.';
comment on column tocsin.alerts.error is 'Why it was.';
comment on column tocsin.alerts.of_event is 'Of recovered: what is over; else the event.';
comment on column tocsin.alerts.is_reminder is 'Whether it was told before.';
comment on column tocsin.alerts.instead_of is 'The alert that another channel could not deliver.';
comment on column tocsin.alerts.incident is 'By which an incident that this opened is known where it was opened.';

comment on table tocsin.alert_cursor is
    'How far executions are judged by the rules, in one row; one instance at a time has it locked.';
comment on column tocsin.alert_cursor.one is 'Always true: there is one row.';
comment on column tocsin.alert_cursor.after_id is 'All executions up to this id are judged, but those in pending.';
comment on column tocsin.alert_cursor.pending is 'Those that were under way then.';
comment on column tocsin.alert_cursor.mark_id is 'What was drawn up to this id is over once all transactions before mark_xid are.';
comment on column tocsin.alert_cursor.mark_xid is 'Transaction id that goes with mark_id.';
comment on column tocsin.alert_cursor.marked_at is 'When the mark was set.';

comment on table tocsin.sets is
    'Sets of jobs, and of what belongs to jobs, that a file declares and tocsin apply writes.';
comment on column tocsin.sets.name is 'Name of the set, as the file has it.';
comment on column tocsin.sets.applied_at is 'When the file was last applied.';
comment on column tocsin.sets.applied_by is 'Who did so, as tocsin.actor() says.';
comment on column tocsin.sets.created_at is 'When it was first applied.';

comment on table tocsin.set_members is
    'What belongs to a set, each to one: a job by its id, all else by its name.';
comment on column tocsin.set_members.kind is 'job, calendar, flow, channel or rule.';
comment on column tocsin.set_members.name is 'Its name in the file.';
comment on column tocsin.set_members.set_name is 'The set that owns it.';
comment on column tocsin.set_members.job_id is 'Of a job, its id; null: it is no job.';
comment on column tocsin.set_members.applied is 'As the file had it, without secrets: what differs from it was changed elsewhere.';
comment on column tocsin.set_members.removed_at is 'Since when the file does not have it; null: it does.';

comment on table tocsin.idempotency_keys is
    'Answers to requests that came with an Idempotency-Key, kept for a day and written in the transaction of what they changed.';
comment on column tocsin.idempotency_keys.id is 'Digest of the client and its key.';
comment on column tocsin.idempotency_keys.request is 'Digest of what was asked.';
comment on column tocsin.idempotency_keys.owner is 'Whose limits it counts in: the prefix of an API key, or loopback; after "forms of " those of the dashboard''s forms.';
comment on column tocsin.idempotency_keys.at is 'When the request came.';
comment on column tocsin.idempotency_keys.status is 'Status of the answer; 0: it is yet to be written; -1: there is none, and any request may have the key.';
comment on column tocsin.idempotency_keys.headers is 'Headers of the answer.';
comment on column tocsin.idempotency_keys.answer is 'Body of the answer, compressed, and encrypted where it has a secret.';
comment on column tocsin.idempotency_keys.bytes is 'Length of what is stored.';

comment on column tocsin.upcoming.at is 'When it starts: next_run, or the end of the lease of what executes.';
comment on column tocsin.upcoming.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.upcoming.job_name is 'Its name; null: it has none.';
comment on column tocsin.upcoming.kind is 'Which executor carries it out: http, amqp and so on.';
comment on column tocsin.upcoming.tags is 'As tocsin.jobs has them.';
comment on column tocsin.upcoming.scheduled_for is 'The run, by its nominal instant.';
comment on column tocsin.upcoming.state is 'How the job stands, in one word: see tocsin.state.';
comment on column tocsin.upcoming.is_skipped is 'Whether the run will be dropped when its time comes.';
comment on column tocsin.upcoming.flow_key is 'Flow of the job; null: none.';
comment on column tocsin.upcoming.priority is '0, the usual one, to 3.';

comment on column tocsin.recent_executions.id is 'The execution.';
comment on column tocsin.recent_executions.job_id is 'Its job, which may be gone.';
comment on column tocsin.recent_executions.job_name is 'Name of the job now; null: it has none, or is gone.';
comment on column tocsin.recent_executions.kind is 'Kind of the job then.';
comment on column tocsin.recent_executions.scheduled_for is 'The run, by its nominal instant.';
comment on column tocsin.recent_executions.attempt is 'Ordinal, from 1, within the run; null: a missed run.';
comment on column tocsin.recent_executions.outcome is 'succeeded, failed, timed_out, cancelled, lost or missed.';
comment on column tocsin.recent_executions.reason is 'One stable word that says more.';
comment on column tocsin.recent_executions.started_at is 'When the request went out; null: none did.';
comment on column tocsin.recent_executions.finished_at is 'When it ended.';
comment on column tocsin.recent_executions.lag_seconds is 'Seconds from scheduled_for to started_at.';
comment on column tocsin.recent_executions.duration_seconds is 'Seconds from started_at to finished_at.';
comment on column tocsin.recent_executions.instance is 'Who carried it out: host:pid:xxxx.';
comment on column tocsin.recent_executions.status_code is 'Status of the answer by HTTP.';
comment on column tocsin.recent_executions.error is 'What went wrong, as a sentence.';

comment on column tocsin.failing_jobs.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.failing_jobs.job_name is 'Its name; null: it has none.';
comment on column tocsin.failing_jobs.kind is 'Which executor carries it out: http, amqp and so on.';
comment on column tocsin.failing_jobs.tags is 'As tocsin.jobs has them.';
comment on column tocsin.failing_jobs.state is 'How it stands, in one word: see tocsin.state.';
comment on column tocsin.failing_jobs.consecutive_failures is 'How many runs in a row did not succeed.';
comment on column tocsin.failing_jobs.last_outcome is 'How the last one ended.';
comment on column tocsin.failing_jobs.last_finished_at is 'When that was.';
comment on column tocsin.failing_jobs.next_run is 'When it goes on; null: it does not.';
comment on column tocsin.failing_jobs.plan_error is 'Why it cannot be planned or executed; null: it can.';

comment on column tocsin.overview.due is 'Jobs whose time has come, and that nobody has claimed; counted up to 10,000 of each sort.';
comment on column tocsin.overview.executing is 'Jobs under a lease.';
comment on column tocsin.overview.failing is 'Rows of tocsin.failing_jobs.';
comment on column tocsin.overview.paused is 'Jobs on pause, each by itself or by a tag.';
comment on column tocsin.overview.succeeded_last_hour is 'Executions that succeeded in the last hour.';
comment on column tocsin.overview.troubled_last_hour is 'Executions of the last hour that did not, missed runs included.';
comment on column tocsin.overview.next_run is 'When the next job comes due; null: none will.';

comment on column tocsin.dead_letters.id is 'The execution, the last of its run.';
comment on column tocsin.dead_letters.job_id is 'Id of the row in tocsin.jobs.';
comment on column tocsin.dead_letters.job_name is 'Name of the job; null: it has none.';
comment on column tocsin.dead_letters.tags is 'As tocsin.jobs has them.';
comment on column tocsin.dead_letters.kind is 'Kind of the job then.';
comment on column tocsin.dead_letters.scheduled_for is 'The run that was given up, by its nominal instant.';
comment on column tocsin.dead_letters.attempt is 'How often it was tried.';
comment on column tocsin.dead_letters.outcome is 'failed, timed_out or lost.';
comment on column tocsin.dead_letters.reason is 'One stable word that says more.';
comment on column tocsin.dead_letters.started_at is 'When the last request went out; null: none did.';
comment on column tocsin.dead_letters.finished_at is 'When the last attempt ended.';
comment on column tocsin.dead_letters.status_code is 'Status of the last answer by HTTP.';
comment on column tocsin.dead_letters.response is 'The beginning of that answer.';
comment on column tocsin.dead_letters.error is 'What went wrong, as a sentence.';

comment on sequence tocsin.executions_id_seq is 'Draws the ids of executions, at each claim.';
comment on sequence tocsin.audit_log_id_seq is 'Draws the numbers of entries, of creations before they are entered.';

-- The functions that constraints and defaults of db/schema.sql need.
comment on function tocsin.uuid7 is 'Makes an id of the time (RFC 9562, version 7): ids are in the order in which they were made.';
comment on function tocsin.actor is 'Who acts, for the audit log: the API key that the setting tocsin.actor names, or the database user. Of a role that may not write the log itself what it names is called a claim.';
comment on function tocsin.refuse(text, text, text) is 'Refuses a row of tocsin.jobs (23514), naming the column, what is wrong and what to write instead.';
comment on function tocsin.fits(jsonb, integer) is 'Whether a document has at most so many bytes as Postgres writes it out, which may be ten thousand times what is stored; found out without writing it.';
comment on function tocsin.fits_at_once(jsonb, integer) is 'As tocsin.fits, quicker for the many documents that are short.';
comment on function tocsin.whole(tocsin.jobs) is 'The job itself: indexes name a column of it so that an update need not compare that column.';
comment on function tocsin.is_deep(jsonb) is 'Whether a document has more than 100 levels.';
comment on function tocsin.refuse_unsound() is 'Refuses edits of a job that break a rule of tocsin.broken_rule, where its constraint does not judge the row.';
comment on function tocsin.is_loggable(tocsin.audit_log) is 'Whether an entry is of an action and an entity that there are, and within what the audit log holds at most.';
