-- What people do with jobs. A job comes as one JSON object, read straight into its Struct.
-- acting: the caller for whom the API acts, told to the triggers of the audit log by a setting that ends with
-- the statement. Postgres leaves out what the statement does not join.

-- part: shown
-- A job as its Struct is read. The functions behind a case are called for the few jobs that need them.
(
    select to_json(shown)
    from (
        select j.*, tocsin.state(j) as state, j.paused_at is not null as paused, tocsin.failing(j) as failing,
            case when j.execution_id is null and (j.pending_runs > 0 or j.overlap = 'allow_all')
                then tocsin.execution_under_way(j) else j.execution_id end as under_way,
            case when j.paused_at is not null then tocsin.pause_of(j) end as pause
    ) as shown
)::text

-- part: written
(
    id uuid, name text, description text, tags text[], metadata jsonb, kind text, target jsonb,
    run_at timestamptz, cron text, timezone text, every_seconds numeric, dst_gap text,
    dst_overlap text, starts_at timestamptz, ends_at timestamptz, max_runs integer,
    max_attempts integer, backoff_seconds numeric, backoff_max_seconds numeric,
    timeout_seconds numeric, misfire text, misfire_grace_seconds numeric, max_catchup integer, overlap text, flow_key text,
    jitter_seconds numeric, jitter_percent numeric, priority integer,
    calendars text[], on_closed text, min_gap_seconds numeric,
    paused boolean, planned boolean, next_run timestamptz, scheduled_for timestamptz)

-- part: listed
-- The jobs that a page judges. Where jobs_aside lists a state as it is, that index is walked; where leases, kinds or
-- runs make up a state as well, their ids are collected first, and the primary key is walked along them; as along
-- named, the ids of the jobs with a name, null: of any.
j.run_of is null
and (:before::uuid is null or j.id < :before::uuid)
and (:tags::text[] is null or (j.tags @> :tags::text[] and j.tags <> '{}'))
and (:named::uuid[] is null or j.id = any(:named::uuid[]))
and (:failing::boolean is distinct from true or tocsin.failing(j))  -- jobs_failing
and case :state::text
        when 'executing' then j.id = any(array(
            select coalesce(l.run_of, l.id) from tocsin.jobs l where l.locked_until is not null and l.locked_until > now()))
        when 'invalid' then j.id = any(array(
            select a.id from tocsin.jobs a where tocsin.is_aside(a) and tocsin.aside_state(a) = 'invalid'
            union all
            select o.id from tocsin.unsupported_kinds() as kind
            join tocsin.jobs o on o.kind = kind.kind and o.kind not in ('http', 'amqp')))
        when 'retrying' then j.id = any(array(
            select a.id from tocsin.jobs a where tocsin.is_aside(a) and tocsin.aside_state(a) = 'retrying'
            union all
            select l.id from tocsin.jobs l where l.locked_until is not null and l.locked_until <= now()
            union all
            select r.run_of from tocsin.jobs r where r.run_of is not null and r.attempt > 0))
        when 'scheduled' then true
        else :state::text is null or (tocsin.is_aside(j) and tocsin.aside_state(j) = :state::text)
      end

-- part: of_host
(:host::text is null
    or lower(substring(j.target ->> 'url' from '^[^/?#]*//(?:[^/?#]*@)?([[][^][/?#]*[]]|[^][/?#:]*)')) = :host::text)

-- part: filtered
-- What no index serves.
(:kind::text is null or j.kind = :kind::text)
and (:name_pattern::text is null or j.name like :name_pattern::text)
and (:text_pattern::text is null
    or j.name collate "default" ilike :text_pattern::text
    or j.description ilike :text_pattern::text)
and (:state::text is null or tocsin.state(j) = :state::text)
and (:last_outcomes::text[] is null or j.last_outcome = any(:last_outcomes::text[]))
and {of_host}
and (:failing::boolean is null or tocsin.failing(j) = :failing::boolean)
and (:has_failed::boolean is null or (tocsin.state(j) = 'failed') = :has_failed::boolean)
and (:next_before::timestamptz is null
    or ((tocsin.is_claimable(j) or tocsin.is_flow_claimable(j))
        and greatest(j.next_run, j.locked_until) < :next_before::timestamptz))

-- part: assigned
-- What an edit writes.
set name = w.name, description = w.description, tags = w.tags, metadata = w.metadata,
    kind = w.kind, target = w.target,
    run_at = w.run_at, cron = w.cron, timezone = w.timezone, every_seconds = w.every_seconds,
    dst_gap = w.dst_gap, dst_overlap = w.dst_overlap, starts_at = w.starts_at,
    ends_at = w.ends_at, max_runs = w.max_runs,
    max_attempts = w.max_attempts, backoff_seconds = w.backoff_seconds,
    backoff_max_seconds = w.backoff_max_seconds, timeout_seconds = w.timeout_seconds,
    misfire = w.misfire, misfire_grace_seconds = w.misfire_grace_seconds,
    max_catchup = w.max_catchup, overlap = w.overlap, flow_key = w.flow_key,
    jitter_seconds = w.jitter_seconds, jitter_percent = w.jitter_percent, priority = w.priority,
    calendars = nullif(w.calendars, '{}'), on_closed = w.on_closed, min_gap_seconds = w.min_gap_seconds,
    paused_at = case when w.paused is null then j.paused_at when w.paused then coalesce(j.paused_at, clock_timestamp()) end,
    next_run = case when w.planned then w.next_run else j.next_run end,
    scheduled_for = case when w.planned then coalesce(w.scheduled_for, w.next_run) else j.scheduled_for end,
    attempt = case when w.planned then 0 else j.attempt end,
    plan_error = case when w.planned then null else j.plan_error end,
    planned_at = case when w.planned then clock_timestamp() else j.planned_at end,
    updated_at = clock_timestamp(),
    edited_at = greatest(clock_timestamp(), j.edited_at + interval '1 microsecond'),
    creation = null,  -- for the audit log
    -- checked: the target is another one, which was checked; any change of the mark says so.
    unchecked = case
        when w.checked then case when j.unchecked is false then null else false end
        when w.planned and j.plan_error is not null then true
        else j.unchecked
    end

-- part: made
-- One job or ten thousand, all or none. planned: next_run is worked out, even if it is null; else
-- the triggers see to it.
insert into tocsin.jobs as j (
    id, name, description, tags, metadata, kind, target,
    run_at, cron, timezone, every_seconds, dst_gap, dst_overlap, starts_at, ends_at, max_runs,
    max_attempts, backoff_seconds, backoff_max_seconds, timeout_seconds,
    misfire, misfire_grace_seconds, max_catchup, overlap, flow_key,
    jitter_seconds, jitter_percent, priority,
    calendars, on_closed, min_gap_seconds,
    paused_at, next_run, scheduled_for, planned_at, unchecked)
select id, name, description, tags, metadata, kind, target,
    run_at, cron, timezone, every_seconds, dst_gap, dst_overlap, starts_at, ends_at, max_runs,
    max_attempts, backoff_seconds, backoff_max_seconds, timeout_seconds,
    misfire, misfire_grace_seconds, max_catchup, overlap, flow_key,
    jitter_seconds, jitter_percent, priority,
    nullif(calendars, '{}'), on_closed, min_gap_seconds,
    case when paused then clock_timestamp() end, next_run, coalesce(scheduled_for, next_run),
    case when planned then clock_timestamp() end, false
from acting, json_to_recordset(:jobs::json) as w {written}
returning (
    select to_json(shown)
    from (
        select j.*, j.paused_at is not null as paused, false as failing, null::bigint as under_way, null::jsonb as pause,
            -- tocsin.state of a job that is new; that of any job takes as long to plan as the rest
            case when j.paused_at is not null then 'paused'
                 when j.next_run is null and j.planned_at is not null then 'finished'
                 else 'scheduled' end as state
    ) as shown
)::text as job

-- name: insert
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
{made};

-- name: insert_limited
-- With an API key that has max_jobs.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true), tocsin.note_key_jobs(:key_id::uuid, :job_ids::uuid[])
)
{made};

-- name: ids
-- Each is looked for by jobs_name. Where `= any` is planned while the table is empty it compares each name with all jobs,
-- until Postgres analyzes the table.
select found.id, wanted.name
from unnest(:names::text[]) as wanted (name)
cross join lateral (select id from tocsin.jobs where name = wanted.name offset 0) as found;

-- name: find
select {shown} as job
from tocsin.jobs j
where (j.id = :job_id::uuid or j.name = :name::text) and j.run_of is null;

-- name: there
-- Which of these ids are those of jobs.
select found.id
from unnest(:job_ids::uuid[]) as wanted (id)
cross join lateral (select id from tocsin.jobs where id = wanted.id and run_of is null offset 0) as found;

-- name: find_many
-- Each is looked for by its index, see ids.
select found.job
from (
    select unnest(:job_ids::uuid[]) as id
    union
    select named.id
    from unnest(:names::text[]) as given (name)
    cross join lateral (select id from tocsin.jobs where name = given.name offset 0) as named
) as wanted
cross join lateral (select {shown} as job from tocsin.jobs j where j.id = wanted.id and j.run_of is null offset 0) as found;

-- name: explain
-- at: the instant of a run that was due then; null: how the job stands now.
select tocsin.state(j) as state, j.next_run, e.reason, e.detail, e.since, e.until, e.facts::text as facts
from tocsin.jobs j
cross join lateral tocsin.explain(j.id, :at::timestamptz)
    with ordinality as e (reason, detail, since, until, facts, place)
where (j.id = :job_id::uuid or j.name = :name::text) and j.run_of is null
order by e.place;

-- name: named
-- The jobs whose names match, in the order of jobs_name, no more than :most of them.
select id from tocsin.jobs
where name like :name_pattern::text
order by name
limit :most::bigint;

-- name: page
-- Newest first, which is the order of the primary key. Planned anew each time, so that a filter
-- that is null folds away. tocsin.state decides.
-- What no index serves is judged of the first :window jobs that the rest of the filters find.
select w.job
from (
    select j.id,
        case when {filtered}
        then {shown} end as job
    from tocsin.jobs j
    where {listed}
    order by j.id desc
    limit :window::bigint
) w
where w.job is not null
order by w.id desc
limit :limit::bigint;

-- name: page_end
-- The last of the :window jobs that such a page judges; no row: they are fewer.
select j.id
from tocsin.jobs j
where {listed}
order by j.id desc
offset :window::bigint - 1 limit 1;

-- name: count
-- How many of the first :window jobs that such a page judges are found, and how many these are.
select count(*) filter (where w.found) as found, count(*) as judged
from (
    select {filtered} as found
    from tocsin.jobs j
    where {listed}
    order by j.id desc
    limit :window::bigint
) w;

-- name: next_run_place
-- At which instant the job can be claimed that :window others can be before; no row: there are not so many.
-- Jobs of flows are in an index of their own.
select at
from (
    (
        select greatest(next_run, locked_until) as at from tocsin.jobs
        where tocsin.is_claimable(jobs) and greatest(next_run, locked_until) >= :since::timestamptz
        order by greatest(next_run, locked_until) limit :window::bigint + 1
    ) union all (
        select greatest(next_run, locked_until) from tocsin.jobs
        where tocsin.is_flow_claimable(jobs) and greatest(next_run, locked_until) >= :since::timestamptz
        order by greatest(next_run, locked_until) limit :window::bigint + 1
    )
) as soon
order by at
offset :window::bigint limit 1;

-- part: judged
-- A job that a page may have, and whether the filters find it.
select j.id, greatest(j.next_run, j.locked_until) as at,
    j.run_of is null
    and (:kind::text is null or j.kind = :kind::text)
    and (:tags::text[] is null or j.tags @> :tags::text[])
    and (:name_pattern::text is null or j.name like :name_pattern::text)
    and (:text_pattern::text is null
        or j.name collate "default" ilike :text_pattern::text
        or j.description ilike :text_pattern::text)
    and (:state::text is null or tocsin.state(j) = :state::text)
    and (:last_outcomes::text[] is null or j.last_outcome = any(:last_outcomes::text[]))
    and {of_host}
    and (:failing::boolean is null or tocsin.failing(j) = :failing::boolean)
    and (:has_failed::boolean is null or (tocsin.state(j) = 'failed') = :has_failed::boolean) as found
from tocsin.jobs j

-- part: between
greatest(j.next_run, j.locked_until) >= :since::timestamptz
and greatest(j.next_run, j.locked_until) < :until::timestamptz
order by greatest(j.next_run, j.locked_until)

-- name: page_by_next_run
-- The order of jobs_claimable, then of ids: there may be millions of jobs that can be claimed at the same instant,
-- so of these no more than :most are judged and put in order.
select w.id, w.at, (
    select {shown}
    from tocsin.jobs j where j.id = w.id
) as job
from (
    select either.id, either.at, either.found
    from (
        (
            {judged}
            where tocsin.is_claimable(j) and {between}
            limit :most::bigint
        ) union all (
            {judged}
            where tocsin.is_flow_claimable(j) and {between}
            limit :most::bigint
        )
    ) as either
    order by either.at
    limit :most::bigint
) w
where w.found and (w.at, w.id) > (:since::timestamptz, :after::uuid)
order by w.at, w.id
limit :limit::bigint;

-- name: update
-- Compare-and-set on edited_at, which every edit changes and no execution does. planned: the plan
-- comes with it. Such an update changes planned_at, which the plan trigger takes for an instance's:
-- so the work of the trigger is done here.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
update tocsin.jobs j
{assigned}
from acting, (
    select w.*, :checked::boolean as checked from json_to_record(:job::json) as w {written}
) as w
where j.id = w.id and j.run_of is null and j.edited_at = :unchanged_since::timestamptz
returning {shown} as job;

-- name: update_many
-- The same for some jobs, of which each is left alone that was edited meanwhile, or whose row is locked; if they have
-- to be waiting, also one that does not wait any more for the run that was seen.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true)
), wanted as materialized (
    select w.*, e.unchanged_since, e.checked, e.next_run_seen
    from json_to_recordset(:jobs::json) as w {written}
    join unnest(:ids::uuid[], :unchanged_since::timestamptz[], :checked::boolean[], :next_runs::timestamptz[])
        as e (edited_id, unchanged_since, checked, next_run_seen) on e.edited_id = w.id
), held as materialized (
    select wanted.* from tocsin.jobs j join wanted on wanted.id = j.id
    where j.run_of is null and j.edited_at = wanted.unchanged_since
      and (not :waiting::boolean or (j.next_run = wanted.next_run_seen and j.attempt = 0 and j.locked_until is null))
    for no key update of j skip locked
)
update tocsin.jobs j
{assigned}
from acting, held w
where j.id = w.id
returning j.id;

-- name: replace_many
-- As update, for some jobs, each of which is waited for. They are locked in the order of their ids, so that two such
-- statements do not wait for each other.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true)
), wanted as materialized (
    select w.*, e.unchanged_since, e.checked
    from json_to_recordset(:jobs::json) as w {written}
    join unnest(:ids::uuid[], :unchanged_since::timestamptz[], :checked::boolean[])
        as e (edited_id, unchanged_since, checked) on e.edited_id = w.id
), held as materialized (
    select wanted.* from tocsin.jobs j join wanted on wanted.id = j.id
    where j.run_of is null and j.edited_at = wanted.unchanged_since
    order by j.id
    for no key update of j
)
update tocsin.jobs j
{assigned}
from acting, held w
where j.id = w.id
returning {shown} as job;

-- name: delete_many
-- Some jobs, but those that were edited meanwhile, or whose row is locked.
with acting as materialized (
    select set_config('tocsin.actor', :actor::text, true)
), held as materialized (
    select j.id from tocsin.jobs j
    join unnest(:ids::uuid[], :unchanged_since::timestamptz[]) as w (id, unchanged_since) on w.id = j.id
    where j.run_of is null and j.edited_at = w.unchanged_since
    for update of j skip locked
)
delete from tocsin.jobs j using acting, held where j.id = held.id
returning j.id;

-- name: delete
with acting as materialized (select set_config('tocsin.actor', :actor::text, true))
delete from tocsin.jobs using acting
where (id = :job_id::uuid or name = :name::text) and run_of is null
  and (:unchanged_since::timestamptz is null or edited_at = :unchanged_since::timestamptz)
returning id;

-- name: run_now
-- The case makes the function, inside which the triggers fire, wait for the setting.
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select run.id
from acting, tocsin.run_now(
    case when acting.actor is not null then :job_id::uuid end, :occurrence::timestamptz, :overlap::text) as run;

-- name: skip
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select skipped.id
from acting, tocsin.skip(
    case when acting.actor is not null then :job_id::uuid end, :runs::integer, :until::timestamptz) as skipped;

-- name: unskip
with acting as materialized (select set_config('tocsin.actor', :actor::text, true) as actor)
select taken_back.id
from acting, tocsin.unskip(case when acting.actor is not null then :job_id::uuid end) as taken_back;

-- part: planned
select coalesce(run_of, id) as id, greatest(next_run, locked_until) as at, next_run, scheduled_for,
    run_at, cron, timezone, every_seconds::float8, dst_gap, dst_overlap, starts_at, ends_at,
        jitter_seconds::float8, jitter_percent::float8, max_runs - runs as runs_left,
    skip_runs, skip_until, attempt > 0 as begun
from tocsin.jobs

-- part: before_until
greatest(next_run, locked_until) < :until::timestamptz
and (locked_until is null or locked_until <= :now::timestamptz)
order by greatest(next_run, locked_until)
limit :jobs::bigint

-- name: upcoming
-- The jobs that can be claimed before :until, the first :jobs of them, and those that execute, as groups with the same
-- schedule and plan, of which there are far fewer: an H or a jitter makes a group of each job. reached: the first instant that is
-- not whole; null: all are. A run beside the plan is its job's.
with soon as materialized (
    select * from (
        (
            {planned}
            where tocsin.is_claimable(jobs) and {before_until}
        ) union all (
            {planned}
            where tocsin.is_flow_claimable(jobs) and {before_until}
        )
    ) as either
    order by at
    limit :jobs::bigint
), executing as materialized (
    select coalesce(run_of, id), null::timestamptz, null::timestamptz, scheduled_for,
        run_at, cron, timezone, every_seconds::float8, dst_gap, dst_overlap, starts_at, ends_at,
        jitter_seconds::float8, jitter_percent::float8, max_runs - runs,
        skip_runs, skip_until, true
    from tocsin.jobs
    where next_run is not null and paused_at is null and plan_error is null
      and locked_until is not null and locked_until > :now::timestamptz
    limit :most::bigint
)
select j.next_run, j.scheduled_for,
    j.run_at, j.cron, j.timezone, j.every_seconds, j.dst_gap, j.dst_overlap, j.starts_at, j.ends_at,
    j.jitter_seconds, j.jitter_percent, j.runs_left,
    j.skip_runs, j.skip_until, j.begun,
    case when j.cron ~* '(?<![a-z])h(?![a-z])' or j.jitter_seconds is not null or j.jitter_percent is not null
        then j.id end as hash_id,
    count(*) as jobs, case when :with_ids::boolean then array_agg(j.id) end as ids,
    (select max(at) from soon having count(*) = :jobs::bigint) as reached
from (select * from soon union all select * from executing) j
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
order by 1 nulls first
limit :groups::bigint + 1;

-- name: names
select id, name from tocsin.jobs where id = any(:ids::uuid[]);
