"""The rules of the domain as pure functions: no I/O, no clock, no randomness, no logging.

- `schedule` plans runs: crons, intervals, time zones, clock changes.
- `runs` decides what becomes of a claimed run: retries, missed runs, the settlement of the claim.
- `jobs` describes a job as clients write and read it.
- `sets` plans what a file of jobs would change; `importing` makes such files of crontabs.
- `secrets` finds, masks and redacts the secrets of targets, and binds named secrets to hosts.
- `net` judges addresses, URLs and headers, and which targets an instance may call.
- `access` makes and checks API keys and browser sessions.
- `facts` are what an instance tells its observers; `health`, `zone_health` and `session_health`
  judge what `tocsin doctor` measured; `field_errors` words msgspec's refusals, with the help of
  `field_paths` and `instants`.

The path of a run: a schedule plans `next_run`; an instance claims the job when due (`runs.claim`);
the executor reports an outcome (`runs.outcome`); `runs.transition` makes of both a settlement, with
another attempt or the next run of the schedule.
"""
