"""Breaks the build on purpose and shows that tests notice: `python -m tests.faults.mutants`.

Each mutant is one edit of a copy of the tree; the tests that guard the edited promise are run there
and have to fail. They have to pass without the edit, too, which is checked first.

A mutant whose text is not found exactly once is an error, here and in
`tests/repository/test_mutants.py`: whoever changes the code adapts it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

ROOT = Path(__file__).parents[2]
SECONDS = 600


class Mutant(Struct, frozen=True, kw_only=True):
    """One way to break a promise."""

    what: str
    file: str
    before: str
    """What is to be found in the file exactly once; how it is broken into lines does not matter."""
    after: str
    tests: tuple[str, ...]

    def edit(self, text: str) -> str:
        """Return the file's text with the edit made.

        Raises:
            AssertionError: the code has changed.
        """
        pattern = r"\s+".join(map(re.escape, self.before.split()))
        edited, count = re.subn(pattern, lambda _: self.after, text)
        assert count == 1, f"{self.what}: found {count} times in {self.file}: {self.before!r}"
        return edited


RACES = "tests/integration/test_races.py"
PENDING_RUNS = "tests/integration/test_pending_runs.py"
RUNS = "tests/integration/test_runs_of_their_own.py"
PROTOCOL = "tests/properties/test_claim_protocol.py"
FROZEN = (
    "tests/faults/test_instances.py"
    "::test_a_frozen_holder_can_neither_settle_nor_extend_nor_overwrite"
)
SLEEPER = "tests/integration/test_silence.py"

MUTANTS = (
    Mutant(
        what="settlement does not check the fence",
        file="db/queries/claims.sql",
        before=(
            "w.next_run) as moved from tocsin.jobs j join wanted w on j.id = w.id "
            "where j.fence = w.fence and j.claimed_at = w.claimed_at and coalesce("
        ),
        after=(
            "w.next_run) as moved from tocsin.jobs j join wanted w on j.id = w.id where coalesce("
        ),
        tests=(RACES, FROZEN),
    ),
    Mutant(
        what="extension does not check the fence",
        file="db/queries/leases.sql",
        before=(
            "select j.id from tocsin.jobs j join wanted w on j.id = w.id "
            "where j.fence = w.fence and j.claimed_at = w.claimed_at and coalesce("
        ),
        after=("select j.id from tocsin.jobs j join wanted w on j.id = w.id where coalesce("),
        tests=(RACES,),
    ),
    Mutant(
        what="a batch matches settlements by job only",
        file="db/queries/claims.sql",
        before="left join settled on settled.id = w.id and settled.fence = w.fence where",
        after="left join settled on settled.id = w.id where",
        tests=(RACES,),
    ),
    Mutant(
        what="settlement overwrites next_run without comparing it",
        file="db/queries/claims.sql",
        before="set next_run = case when moved then j.next_run else w.next_run end",
        after="set next_run = w.next_run",
        tests=(RACES,),
    ),
    Mutant(
        what="a plan does not wait for the runs beside it",
        file="db/triggers.sql",
        before="and (job.pending_runs = 0 or job.attempt > 0) and job.flow_key is null",
        after="and job.flow_key is null",
        tests=(RUNS,),
    ),
    Mutant(
        what="a plan does not go on after the runs beside it",
        file="db/triggers.sql",
        before="set pending_runs = greatest(j.pending_runs - 1, 0),",
        after="set pending_runs = j.pending_runs,",
        tests=(RUNS,),
    ),
    Mutant(
        what="a request is due beside the one before it",
        file="db/triggers.sql",
        before="else tocsin.is_occupied(job) end) then added.target",
        after="else false end) then added.target",
        tests=(PENDING_RUNS,),
    ),
    Mutant(
        what="a run is settled past whoever has its job locked",
        file="db/queries/claims.sql",
        before="and (j.run_of is null or tocsin.hold_job(j.run_of))",
        after="",
        tests=(RUNS,),
    ),
    Mutant(
        what="runs that are active at once are carried out at once",
        file="db/queries/runs.sql",
        before="where other.run_of = run.run_of and other.id <> run.id",
        after="where false and other.run_of = run.run_of and other.id <> run.id",
        tests=(RUNS,),
    ),
    Mutant(
        what="a refusal is written over a correction",
        file="db/queries/claims.sql",
        before="case when j.edited_at = w.edit_seen_at then w.plan_error end",
        after="w.plan_error",
        tests=(RACES,),
    ),
    Mutant(
        what="planning does not compare the edit",
        file="db/queries/plans.sql",
        before="where j.edited_at = w.edited_at and j.planned_at is null",
        after="where true",
        tests=(RACES, "tests/integration/test_claims.py"),
    ),
    Mutant(
        what="a claim ahead takes leases that still hold",
        file="db/queries/claims.sql",
        before="and greatest(next_run, locked_until) <= least(now(), :believed::timestamptz)"
        " + :ahead_seconds::float8 * interval '1 second'"
        " and (locked_until is null or locked_until <= least(now(), :believed::timestamptz))",
        after="and greatest(next_run, locked_until) <= least(now(), :believed::timestamptz)"
        " + :ahead_seconds::float8 * interval '1 second'",
        tests=(RACES,),
    ),
    Mutant(
        what="a clock that jumped ahead is believed at once",
        file="app/db/clock.py",
        before="if received_at - self.ahead_since < self.hold_seconds:",
        after="if received_at < self.ahead_since:",
        tests=("tests/unit/test_clock.py",),
    ),
    Mutant(
        what="the claim does not look at leases",
        file="db/queries/claims.sql",
        before=(
            "greatest(next_run, locked_until) <= least(now(), :believed::timestamptz) "
            "+ :ahead_seconds::float8 * interval '1 second' "
            "and (locked_until is null or locked_until <= least(now(), :believed::timestamptz))"
        ),
        after="next_run <= now() + :ahead_seconds::float8 * interval '1 second'",
        tests=(RACES,),
    ),
    Mutant(
        what="a lease that could not be extended is believed",
        file="app/scheduler/leases.py",
        before="if held.claim.id in answer.extended:",
        after="if held.claim.id not in answer.lost:",
        tests=(
            "tests/faults/test_locks.py::test_an_execution_whose_lease_cannot_be_extended_is_cut_off_before_it_ends",
        ),
    ),
    Mutant(
        what="wake-ups are forgotten after the claim",
        file="app/scheduler/poller.py",
        before="sleep = await self.look(session)",
        after="sleep = await self.look(session); self.wakeup.clear()",
        tests=(SLEEPER,),
    ),
    Mutant(
        what="nobody looks after the announcement of another",
        file="app/scheduler/notify.py",
        before="        return others_seconds + GRACE_SECONDS\n",
        after='        return float("inf")\n',
        tests=("tests/integration/test_polling.py", "tests/faults/test_polling.py"),
    ),
    Mutant(
        what="notifications are suppressed without telling the other instances",
        file="db/queries/polling.sql",
        before="where not exists (select from in_force)",
        after="where false",
        tests=("tests/integration/test_polling.py",),
    ),
    Mutant(
        what="nobody listens again after the session was lost",
        file="app/db/listener.py",
        before="await self.connection.add_listener(channel, partial(deliver, told))",
        after="told",
        tests=("tests/integration/test_listener.py",),
    ),
    Mutant(
        what="an answer that does not come is waited for as long as in the API",
        file="app/scheduler/pools.py",
        before="patience_seconds=PATIENCE_SECONDS if seconds is None else COMMAND_TIMEOUT_SECONDS,",
        after="",
        tests=("tests/faults/test_half_open.py",),
    ),
    Mutant(
        what="a pooler that swallows notifications is believed",
        file="app/db/listener.py",
        before="await require_notification(url, CHANNEL, arrived)",
        after="pass",
        tests=("tests/faults/test_pooler.py",),
    ),
    Mutant(
        what="raised jobs do not go first",
        file="db/queries/claims.sql",
        before="order by tocsin.rank(due_at, priority)",
        after="order by due_at",
        tests=("tests/integration/test_priority.py",),
    ),
    Mutant(
        what="the permits of a flow do not go by rank",
        file="db/triggers/7_flows.sql",
        before="order by tocsin.rank(found.due_at, found.priority)",
        after="order by found.due_at",
        tests=("tests/integration/test_priority.py",),
    ),
    Mutant(
        what="a spread run is planned for its instant",
        file="app/core/runs/transition.py",
        before="return spread(claim.schedule, occurrence, job_id=claim.job_id)",
        after="return PlannedRun(scheduled_for=occurrence, next_run=occurrence)",
        tests=("tests/unit/test_spread.py",),
    ),
    Mutant(
        what="a lost execution is not recorded",
        file="db/queries/claims.sql",
        before="case when w.execution_id is not null then json_build_object(",
        after="case when false then json_build_object(",
        tests=(RACES,),
    ),
    Mutant(
        what="attempts that were lost are not counted out",
        file="app/core/runs/unexecuted.py",
        before="if claim.attempt <= claim.retry.max_attempts:",
        after="if claim.attempt <= claim.retry.max_attempts + 1000:",
        tests=(
            "tests/faults/test_poison.py::test_a_job_that_kills_its_instance_every_time_is_given_up",
        ),
    ),
    Mutant(
        what="one host may take every slot",
        file="app/scheduler/shares.py",
        before="return 0 < self.share * free <= self.executing[host]",
        after="return False",
        tests=(
            "tests/faults/test_overload.py::test_a_thousand_hanging_targets_starve_no_healthy_one",
        ),
    ),
)


def outcome(tree: Path, tests: tuple[str, ...]) -> bool:
    """Run tests in a tree; tell whether all passed."""
    ended = subprocess.run(  # noqa: S603 - our own arguments
        # A cache and locks of its own: tests that are run beside this share theirs.
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-o",
            "cache_dir=.pytest_cache/mutants",
            *tests,
        ],
        cwd=tree,
        env=os.environ
        | {
            "PYTHONPATH": str(tree),
            "PROTOCOL_EXAMPLES": "20",
            "TURNS_OF_TESTS": str(tree / ".pytest_cache" / "turns of mutants"),
        },
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    return ended.returncode == 0


def copied(to: Path) -> Path:
    """Copy what the tests need."""
    for name in ("app", "db", "tests", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    return to


def is_caught(mutant: Mutant) -> bool:
    """Apply the edit to a copy; tell whether the tests fail."""
    with TemporaryDirectory(prefix="tocsin-mutant-") as directory:
        tree = copied(Path(directory))
        edited = tree / mutant.file
        edited.write_text(mutant.edit(edited.read_text("utf-8")), "utf-8")
        return not outcome(tree, mutant.tests)


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    chosen = [one for one in MUTANTS if wanted in one.what]
    if not chosen:
        sys.exit("no mutant is called so; there are:\n" + "\n".join(one.what for one in MUTANTS))
    tests = tuple(dict.fromkeys(test for one in chosen for test in one.tests))
    assert outcome(ROOT, tests), "the tests do not even pass without any mutant"
    survived = []
    for one in chosen:
        caught = is_caught(one)
        sys.stdout.write(f"| {one.what} | {'caught' if caught else '**survived**'} |\n")
        sys.stdout.flush()
        if not caught:
            survived.append(one.what)
    sys.exit(f"survived: {survived}" if survived else 0)


if __name__ == "__main__":
    main()
