-- Jobs that instances leave alone, as they can neither be claimed nor given a plan_error.

-- name: tell
-- Says how many an instance leaves alone; forgets instances that have said nothing for a day.
with forgotten as (
    delete from tocsin.resting_jobs
    where told_at not between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '1 day'
      and instance <> :instance::text
)
insert into tocsin.resting_jobs (instance, jobs, job_id, problem)
values (:instance::text, :jobs::bigint, :job_id::uuid, :problem::text)
on conflict (instance) do update
set jobs = excluded.jobs, job_id = excluded.job_id, problem = excluded.problem, told_at = excluded.told_at;

-- name: forget
delete from tocsin.resting_jobs where instance = :instance::text;

-- name: told
-- What instances said lately.
select r.instance, r.jobs, coalesce(j.name, r.job_id::text) as example, r.problem
from tocsin.resting_jobs r left join tocsin.jobs w on w.id = r.job_id
left join tocsin.jobs j on j.id = coalesce(w.run_of, w.id)
where r.told_at > clock_timestamp() - interval '3 minutes'
order by r.instance;
