-- Targets that were written in SQL and are not carried out soon: checked by an instance.

-- name: unchecked, reads
-- A cron comes once it is planned. Rows that another transaction has locked come later, and so do those whose targets
-- have more than a megabyte together, as in a look. A target that a look would refuse for its length is left
-- to its run: it must not keep the others from being read. after, after_at: as those of plans.unplanned.
with found as materialized (
    select id, edited_at from tocsin.jobs
    where unchecked and next_run is not null and planned_at is not null and plan_error is null
      and kind = any(:kinds::text[])
      and (:after::uuid is null or (edited_at, id) > (:after_at::text::timestamptz, :after::uuid))
      and not (id = any(:aside::uuid[])) and (:only::uuid[] is null or id = any(:only::uuid[]))
      and (not validated or tocsin.fits_at_once(target, 262144))
    order by edited_at, id
    limit 200
    for no key update skip locked
)
select job_id, kind, target, edited_at
from (
    select j.id as job_id, j.kind, tocsin.long_target(j.id, 1048576) as target, j.edited_at
    from found join tocsin.jobs j using (id) order by j.edited_at, j.id offset 0
) as written
where target is not null
order by edited_at, job_id;

-- name: unchecked_lately, reads
-- Those that were written since the transaction newer, null: at any time; the latest first.
select id
from tocsin.jobs
where unchecked and next_run is not null and planned_at is not null and plan_error is null
  and kind = any(:kinds::text[]) and (:newer::text is null or age(xmin) <= age(:newer::text::xid8::xid))
  and not (id = any(:aside::uuid[]))
order by edited_at desc
limit 5;

-- name: checked
-- Compare-and-set on edited_at: what was edited since is checked in its turn. planned_at moves, so
-- that no trigger takes this for a person's edit. A job under a lease gets no plan_error, which would
-- hide it from the instance that has to record a lost execution: its execution tells, or the next check.
-- Tells of each that was neither edited nor locked whether the verdict was written, as plans.write does.
with wanted as (
    select * from json_to_recordset(:verdicts::json) as w (
        job_id uuid, edited_at timestamptz, plan_error text)
), free as materialized (
    select w.* from tocsin.jobs j join wanted w on j.id = w.job_id
    where j.edited_at = w.edited_at and j.unchecked and j.plan_error is null
      and j.planned_at is not null and (w.plan_error is null or j.locked_until is null)
    for no key update of j skip locked
), checked as (
    update tocsin.jobs j
    set unchecked = false, plan_error = w.plan_error, planned_at = clock_timestamp()
    from free w
    where j.id = w.job_id
    returning j.id
)
select free.job_id, checked.id is not null as written
from free left join checked on checked.id = free.job_id;
