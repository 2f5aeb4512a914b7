"""The commands that use the API, against an API that is served."""

import asyncio
import json
import re
import stat
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import click
import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.cli.remote import errors, tail
from app.cli.remote import jobs as of_jobs
from app.cli.remote.api import Api
from app.cli.remote.contexts import config_file
from app.cli.remote.errors import EXIT_CODES
from tests.support.cluster import ROOT
from tests.support.commands import Tocsin, found
from tests.support.instances import StartInstance
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

LATER = "2100-01-01T00:00:00Z"
PRINT_MODULES = """
import sys
import app.cli.remote.executions, app.cli.remote.jobs
from app.cli.main import main
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("app.")))
"""


PAST = "--from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z"
REFUSED = [
    ("jobs get nobody", 3, "nobody"),
    ("jobs create --at never --url http://127.0.0.1:9/", 2, "--at"),
    ("jobs create", 2, "target"),
    ("jobs create --header X", 2, "--header X"),
    ("jobs create --set x", 2, "--set x"),
    ("jobs create -f /nowhere/at/all.yaml", 2, "/nowhere/at/all.yaml"),
    ("jobs list --sort sideways", 2, "sideways"),
    ("jobs list --json name --columns name", 2, "--json"),
    ("jobs pause", 2, "--all"),
    ("jobs pause one --all", 2, "--all"),
    ("jobs delete one", 2, "--yes"),
    ("jobs edit one", 3, "one"),
    ("jobs edit --tag a", 2, "--set"),
    ("jobs edit one --tag a --set priority=1", 2, "one of these"),
    ("jobs run --wait", 2, "--wait"),
    ("executions get 1", 3, "1"),
    ("executions cancel 1", 3, "1"),
    ("executions cancel", 2, "--job"),
    ("executions cancel 1 --all", 2, "one of these"),
    ("executions tail --from tomorrow", 2, "with a zone"),
    ("jobs skip one --runs 2 --none", 2, "--none"),
    ("jobs skip", 2, "--all"),
    ("executions replay", 2, "--outcome"),
    ("bulk get x", 2, "x"),
    (f"backfill {PAST}", 2, "--tag"),
    ("backfill one --from 12h --to yesterday", 2, "or 12h for 12 hours ago"),
    (f"backfill one {PAST} --side-by-side --overlap buffer_all", 2, "--overlap"),
    ("flows get none", 3, "none"),
    ("flows set none --rate 0", 2, "rate"),
    ("preview --every 0", 2, "every_seconds"),
    ("executions replay --job one --rate 0 --yes", 2, "rate_per_second"),
    ("maintenance begin --tag a --all", 2, "--all"),
    ("maintenance begin --all", 2, "ends_at"),
    ("pauses begin", 2, "--tag"),
    ("jobs run one --overlap sideways", 2, "sideways"),
    ("preview '61 * * * *'", 2, "cron: minute"),
    ("executions list --from tomorrow", 2, "or 12h for 12 hours ago"),
    ("jobs history one --to 2026-02-31", 2, "--to: '2026-02-31' is no instant"),
    ("jobs list --next-before 12h", 2, "--next-before"),
    ("alerts rules set x --event explode", 2, "failed, exhausted"),
    ("context use nowhere", 2, "nowhere"),
    ("jobs list --context nowhere", 2, "nowhere"),
    ("jobs list --api ftp://x", 2, "ftp://x"),
    ("jobs list --api http://u:p@x", 2, "TOCSIN_API_KEY"),
    ("jobs list --api http://127.0.0.1:1", 5, "does not answer"),
    ("login", 2, "--url"),
]
"""Command lines that cannot be, each with the exit code and with what is said on stderr."""


async def test_a_job_lives_its_life_on_the_command_line(tocsin: Tocsin) -> None:
    made = await found(
        tocsin,
        "jobs create nightly --cron '0 3 * * *' --timezone Europe/Paris --tag reports --json"
        " --url http://127.0.0.1:9/ --method put --header 'X-Team: a: b' --body '{\"n\": 1}'"
        " --set timeout_seconds=60",
    )
    edited = await found(tocsin, "jobs edit nightly --set target.json.n=2 --set tags=null --json")
    paused = await found(tocsin, "jobs pause nightly --reason 'a holiday' --json")
    resumed = await found(tocsin, "jobs resume nightly --json")
    skipped = await found(tocsin, "jobs skip nightly --runs 2 --json")
    gone = await tocsin("jobs delete nightly --yes")
    missing = await tocsin("jobs get nightly")

    assert made["target"]["method"] == "PUT"
    assert made["target"]["headers"] == {"X-Team": "a: b"}
    assert (made["timezone"], made["timeout_seconds"]) == ("Europe/Paris", 60)
    assert (edited["target"]["json"], edited["tags"]) == ({"n": 2}, [])
    assert (paused["state"], resumed["state"]) == ("paused", "scheduled")
    assert skipped["skip_runs"] == 2
    assert (gone.exit_code, gone.stdout) == (0, "")
    assert missing.exit_code == 3
    assert missing.stderr.startswith("tocsin: ")


async def test_an_instant_that_has_passed_is_noted_beside_the_job(tocsin: Tocsin) -> None:
    past = await tocsin("jobs create past --at 2020-01-01T00:00:00Z --url http://h/ --json")
    ahead = await tocsin(f"jobs create ahead --at {LATER} --url http://h/ --json")
    edited = await tocsin("jobs edit ahead --set run_at=2021-01-01T00:00:00Z --json")

    for one in (past, edited):
        assert "note: its run_at has passed" in one.stderr
        assert json.loads(one.stdout)["kind"] == "http"
    assert ahead.stderr == ""


async def test_a_job_comes_from_yaml_in_which_a_time_is_text(tocsin: Tocsin) -> None:
    text = f"""
        name: from-yaml
        kind: http
        target: {{url: "http://127.0.0.1:9/", json: {{at: 03:00, no: no, day: 2026-01-01, n: 1e3}}}}
        run_at: {LATER}
        tags: [a, "1"]
    """

    made = await found(tocsin, "jobs create -f - --json", stdin=text)
    again = await found(tocsin, "jobs create -f - --replace --tag b --json", stdin=text)

    assert made["target"]["json"] == {"at": "03:00", "no": "no", "day": "2026-01-01", "n": 1000}
    assert again["id"] == made["id"]
    assert again["tags"] == ["b"]


async def test_a_file_of_many_jobs_creates_and_replaces_them(tocsin: Tocsin) -> None:
    job = {"kind": "http", "target": {"url": "http://127.0.0.1:9/"}, "run_at": LATER}
    lines = "\n".join(json.dumps(job | {"name": name}) for name in "ab")

    made = await found(tocsin, "jobs create -f - --json name", stdin=lines)
    edited = lines.replace(LATER, "2101-01-01T00:00:00Z", 1)
    again = await found(tocsin, "jobs create -f - --replace --json name,effect", stdin=edited)
    refused = await tocsin("jobs create -f - --tag x", stdin=lines)

    assert made == [{"name": "a"}, {"name": "b"}]
    assert again == [{"name": "a", "effect": "updated"}, {"name": "b", "effect": "unchanged"}]
    assert (refused.exit_code, "for one job" in refused.stderr) == (2, True)


async def test_formats_are_for_people_and_for_programs(tocsin: Tocsin) -> None:
    for name in ("one", "two"):
        await found(tocsin, f"jobs create {name} --at {LATER} --url http://127.0.0.1:9/ --json")

    table = await tocsin("jobs list --utc")
    columns = await tocsin("jobs list --columns name,target.url")
    names = await tocsin("jobs list -o name --named t")
    lines = await tocsin("jobs list -o jsonl")
    fields = await found(tocsin, "jobs list --json name,target.url")
    yaml = await tocsin("jobs get one -o yaml")
    unknown = await tocsin("jobs list --json nmae")
    none = await tocsin("jobs list --tag nothing-has-it")
    empty = await found(tocsin, "jobs list --tag nothing-has-it --json")

    assert "NEXT RUN (UTC)" in table.stdout
    assert "2100-01-01 00:00:00 (in " in table.stdout
    assert columns.stdout.splitlines()[0].split() == ["NAME", "TARGET.URL"]
    assert names.stdout == "two\n"
    assert [json.loads(line)["name"] for line in lines.stdout.splitlines()] == ["two", "one"]
    assert fields == [
        {"name": name, "target.url": "http://127.0.0.1:9/"} for name in ("two", "one")
    ]
    assert "name: one\n" in yaml.stdout
    assert unknown.exit_code == 2
    assert "there is no field nmae" in unknown.stderr
    assert (none.stdout, none.stderr) == ("", "no jobs match\n")
    assert empty == []


async def test_what_a_stranger_wrote_cannot_move_the_cursor_of_a_terminal(tocsin: Tocsin) -> None:
    await found(
        tocsin,
        "jobs create -f - --json",
        stdin=json.dumps(
            {
                "kind": "http",
                "target": {"url": "http://127.0.0.1:9/"},
                "run_at": LATER,
                "description": "\x1b[2Jgone\u202e\r\n",
            }
        ),
    )

    shown = await tocsin("jobs list --columns description")

    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    assert "gone" in shown.stdout


async def test_what_cannot_be_says_why_and_exits_with_its_code(tocsin: Tocsin) -> None:
    for line, code, said in REFUSED:
        result = await tocsin(line)

        assert result.exit_code == code, (line, result.output)
        assert result.stdout == "", line
        assert said in result.stderr, (line, result.output)
        assert "Traceback" not in result.stderr, line


async def test_errors_are_json_where_the_output_is(tocsin: Tocsin) -> None:
    refused = await tocsin("jobs create --cron '61 * * * *' --url http://127.0.0.1:9/ --json")
    away = await tocsin("jobs list --json --api http://127.0.0.1:1")

    problem = json.loads(refused.stderr)
    assert problem["exit_code"] == refused.exit_code == 2
    assert problem["errors"][0]["field"] == "cron"
    assert json.loads(away.stderr)["exit_code"] == away.exit_code == 5


async def test_an_edit_beside_another_is_a_conflict(
    tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await found(tocsin, f"jobs create one --at {LATER} --url http://127.0.0.1:9/ --json")
    usual = of_jobs.fields_set
    running = asyncio.get_running_loop()

    def while_another_edits(given: tuple[str, ...]) -> dict[str, Any]:
        monkeypatch.setattr(of_jobs, "fields_set", usual)
        other = tocsin("jobs edit one --set timeout_seconds=1")
        assert asyncio.run_coroutine_threadsafe(other, running).result(30).exit_code == 0
        return usual(given)

    monkeypatch.setattr(of_jobs, "fields_set", while_another_edits)
    mine = await tocsin("jobs edit one --set timeout_seconds=2")

    assert mine.exit_code == 6
    assert (await found(tocsin, "jobs get one --json"))["timeout_seconds"] == 1


def test_an_edit_in_the_editor_comes_to_what_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"id": "x", "name": "one", "timeout_seconds": 30, "target": {"url": "u", "json": 0}}
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/: 30/: 31/; s/json: 0/json: false/; /^name/d' \"$1\"\n")
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

    patch = of_jobs.edited(job)

    assert patch == {"timeout_seconds": 31, "target": {"json": False}, "name": None}
    monkeypatch.setenv("VISUAL", "true")
    assert of_jobs.edited(job) == {}


async def test_a_run_is_waited_for_and_its_end_is_the_exit_code(
    tocsin: Tocsin, instance: StartInstance, sink: Sink
) -> None:
    for name, status in (("good", 200), ("bad", 500)):
        url = sink.on(f"/{name}", reply(status))
        await found(
            tocsin,
            f"jobs create {name} --at {LATER} --url {url} --set max_attempts=1 --json",
        )
    async with instance():
        tested = await tocsin("jobs test bad --timeout 5 --json outcome,reason")
        good = await tocsin("jobs run good --wait --json")
        bad = await tocsin("jobs run bad --wait --json")

    assert tested.exit_code == 1, tested.stderr
    assert json.loads(tested.stdout)["outcome"] == "failed"
    assert (good.exit_code, json.loads(good.stdout)["outcome"]) == (0, "succeeded")
    assert (bad.exit_code, json.loads(bad.stdout)["status_code"]) == (1, 500)
    listed = await found(
        tocsin, "executions list --outcome failed --from 12h --json job_name,reason"
    )
    earlier = await found(tocsin, "executions list --to 12h --json")
    history = await found(tocsin, "jobs history good --json outcome")
    explained = await tocsin("jobs explain good")
    shown = await tocsin("executions list --outcome failed")
    id = json.loads(bad.stdout)["id"]
    replayed = await tocsin(f"executions replay {id} 999999")
    none = await tocsin("executions list --reason dns")
    by_more = await found(
        tocsin,
        "executions list --kind http --late-by 1e-6 --slower-than 1e-6 --status 5xx --json id",
    )
    table_head = shown.stdout.splitlines()[0].split()
    assert listed == [{"job_name": "bad", "reason": "status"}]
    assert earlier == []
    assert (table_head[-1], " 500 " in shown.stdout) == ("ERROR", True)
    assert (none.exit_code, none.stderr) == (0, "no executions match\n")
    assert by_more == [{"id": id}]
    assert replayed.exit_code == 3
    assert f"replayed {id}: " in replayed.stdout
    assert "execution 999999: " in replayed.stderr
    assert history == [{"outcome": "succeeded"}]
    assert explained.exit_code == 0
    assert explained.stdout


async def test_many_jobs_are_counted_before_they_are_changed(
    tocsin: Tocsin, instance: StartInstance
) -> None:
    for name in ("one", "two", "three"):
        tag = "b" if name == "three" else "a"
        await found(
            tocsin, f"jobs create {name} --at {LATER} --url http://127.0.0.1:9/ --tag {tag} --json"
        )
    asked = await tocsin("jobs pause --tag a")
    async with instance():
        done = await tocsin(f"jobs pause --tag a --reason moved --until {LATER} --yes --json")
    paused = await tocsin("jobs list --state paused -o name")
    actions = await found(tocsin, "bulk list --json action,changed")
    why = await found(tocsin, "jobs get one --json pause")
    none = await tocsin("jobs pause --tag nothing-has-it --yes")

    assert asked.exit_code == 2
    assert "2 found: " in asked.stderr
    assert "--yes" in asked.stderr
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["changed"] == 2
    assert sorted(paused.stdout.split()) == ["one", "two"]
    assert actions == [{"action": "pause", "changed": 2}]
    assert (why["pause"]["reason"], why["pause"]["until"]) == ("moved", LATER)
    assert (none.exit_code, none.stdout) == (1, "")


async def test_many_jobs_are_edited_their_runs_skipped_and_what_they_execute_cut_off(
    tocsin: Tocsin, instance: StartInstance, sink: Sink
) -> None:
    url = sink.on("/slow", late(30, reply(200)))
    for name in ("one", "two"):
        await found(tocsin, f"jobs create {name} --every 3600 --url {url} --tag a --json")
    async with instance():
        edited = await found(tocsin, "jobs edit --tag a --set priority=1 --yes --json changed")
        skipped = await found(tocsin, "jobs skip --tag a --runs 2 --yes --json changed")
        many = await found(tocsin, "jobs list --json skip_runs")
        taken_back = await tocsin("jobs skip one two --none -o jsonl --columns skip_runs")
        await tocsin("jobs run one two")
        await sink.arrived(2)
        cut = await found(tocsin, "executions cancel --tag a --yes --json action,changed")
    listed = await found(tocsin, "executions list --json outcome")

    assert edited == skipped == {"changed": 2}
    assert many == [{"skip_runs": 2}] * 2
    assert taken_back.stdout == '{"skip_runs": null}\n' * 2
    assert cut == {"action": "cancel", "changed": 2}
    assert listed == [{"outcome": "cancelled"}] * 2


async def test_executions_are_told_as_they_end(
    tocsin: Tocsin,
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, stop = [0], asyncio.Event()

    def rest(_: float) -> None:
        looks[0] += 1
        if stop.is_set():
            raise KeyboardInterrupt
        time.sleep(0.05)

    monkeypatch.setattr(tail, "time", SimpleNamespace(sleep=rest))
    slow, quick = sink.on("/slow", late(1, reply(200))), sink.on("/quick", reply(500))
    job = "select tocsin.http_job($1, $2, max_attempts => 1)"
    ended = "select count(*) = 2 from tocsin.executions"
    # No other command runs beside it: they would print into what it prints.
    following = asyncio.create_task(tocsin("executions tail --json job_name,outcome"))
    try:
        async with instance():
            await connection.execute(job, "slow", slow)
            await sink.arrived(1)
            await connection.execute(job, "quick", quick)
            await until(partial(connection.fetchval, ended), "both have ended")
            seen = looks[0]

            async def has_looked() -> bool:
                return looks[0] > seen + 1

            await until(has_looked, "it has looked since")
    finally:
        stop.set()
        told = await following

    assert [json.loads(line) for line in told.stdout.splitlines()] == [
        {"job_name": "quick", "outcome": "failed"},
        {"job_name": "slow", "outcome": "succeeded"},
    ]
    assert told.exit_code == 0


async def test_what_is_kept_in_postgres_itself_is_listed_in_json(
    tocsin: Tocsin, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", database_url)
    await tocsin("keys create ops --scope admin")

    keys = await found(tocsin, "keys list --json name,scopes")
    secrets = await found(tocsin, "secrets list --json")
    names = await tocsin("keys list -o name")
    doctor = await tocsin("doctor --json subject,remedy")
    contexts = await found(tocsin, "context list --json")

    assert keys == [{"name": "ops", "scopes": ["admin"]}]
    assert (secrets, names.stdout, contexts) == ([], "ops\n", [])
    findings = json.loads(doctor.stdout)
    assert len(findings) > 10
    assert {"subject": "connection", "remedy": ""} in findings


async def test_runs_of_the_past_are_counted_and_carried_out(
    tocsin: Tocsin, instance: StartInstance, sink: Sink
) -> None:
    url = sink.on("/x", reply(200))
    await found(tocsin, f"jobs create nightly --cron '0 3 * * *' --url {url} --json")
    days = "--from 2026-01-01T00:00:00Z --to 2026-01-03T00:00:00Z"
    asked = await tocsin(f"backfill nightly {days}")
    none = await tocsin(
        "backfill nightly --from 2026-01-01T04:00:00Z --to 2026-01-01T05:00:00Z --yes"
    )
    async with instance():
        done = await tocsin(f"backfill nightly {days} --overlap allow_all --yes --json")

    assert (asked.exit_code, "2 runs" in asked.stderr) == (2, True)
    assert (none.exit_code, "no run in that range" in none.stderr) == (1, True)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["state"] == "finished"


async def test_what_comes_and_what_a_schedule_means_are_shown(tocsin: Tocsin) -> None:
    await found(tocsin, "jobs create soon --in 60 --url http://127.0.0.1:9/ --json")

    coming = await found(tocsin, "upcoming --json job_name,skipped")
    words = await tocsin("preview '0 3 * * *' --timezone Europe/Paris --count 2 --utc")
    flow = await found(tocsin, "flows set api --max-concurrency 3 --json")
    flows = await tocsin("flows list -o name")

    assert coming == [{"job_name": "soon", "skipped": False}]
    assert "3" in words.stdout.splitlines()[0]
    assert len(words.stdout.splitlines()) == 4
    assert flow["max_concurrency"] == 3
    assert flows.stdout == "api\n"


async def test_what_runs_in_a_span_of_time_is_shown_of_some_jobs(tocsin: Tocsin) -> None:
    now = datetime.now(UTC)
    begin, end = (f"{now + timedelta(minutes=one):%FT%TZ}" for one in (3, 5.5))
    for name, tag in (("one", "a"), ("two", "b")):
        create = f"jobs create {name} --cron '* * * * *' --tag {tag} --url http://127.0.0.1:9/"
        await found(tocsin, f"{create} --json")

    both = await found(tocsin, f"upcoming --from {begin} --until {end} --json at,job_name")
    one = await found(tocsin, f"upcoming --job one --from {begin} --until {end} --json job_name")
    two = await found(tocsin, f"upcoming --tag b --until {end} --json job_name")
    cut = await tocsin("upcoming --limit 2 -o jsonl")
    jobs = await tocsin("jobs list --limit 1 -o name")
    whole = await tocsin("jobs list --limit 2 -o name")

    assert {each["job_name"] for each in both} == {"one", "two"}
    assert {begin <= each["at"] < end for each in both} == {True}
    assert len(both) == 2 * len(one) > 2
    assert {each["job_name"] for each in one} == {"one"}
    assert {each["job_name"] for each in two} == {"two"}
    assert (len(cut.stdout.splitlines()), "more follow" in cut.stderr) == (2, True)
    assert (jobs.stdout, "more follow" in jobs.stderr) == ("two\n", True)
    assert (whole.stdout, whole.stderr) == ("two\none\n", "")


async def test_tags_are_paused_and_windows_laid_and_both_ended(tocsin: Tocsin) -> None:
    await found(tocsin, f"jobs create a --at {LATER} --url http://127.0.0.1:9/ --tag t --json")
    pause = await found(tocsin, f"pauses begin --tag t --reason broken --until {LATER} --json")
    state = await found(tocsin, "jobs get a --json state")
    resumed = await tocsin(f"pauses end {pause['id']} --missed once")
    window = await found(
        tocsin, f"maintenance begin --all --to {LATER} --on-closed next_open --json"
    )
    listed = await found(tocsin, "maintenance list --json id")
    ended = await tocsin(f"maintenance end {window['id']}")
    left = [await tocsin("maintenance list --json"), await tocsin("pauses list --json")]

    assert (pause["reason"], pause["until"], state["state"]) == ("broken", LATER, "paused")
    assert (resumed.exit_code, "0 jobs were due" in resumed.stderr) == (0, True)
    assert (window["tag"], window["on_closed"], window["is_under_way"]) == (None, "next_open", True)
    assert listed == [{"id": window["id"]}]
    assert ended.exit_code == 0, ended.output
    assert [json.loads(one.stdout) for one in left] == [[], []]


async def test_calendars_and_checks_are_set_up_and_read(tocsin: Tocsin, tmp_path: Path) -> None:
    dates = tmp_path / "office.yaml"
    dates.write_text("dates: [2099-12-24]")
    office = await found(
        tocsin,
        f"calendars set office -f {dates} --weekly 'MON-FRI 09:00-17:00' --holidays DE-BY"
        " --timezone Europe/Berlin --json",
    )
    listed = await tocsin("calendars list -o name")
    gone = await tocsin("calendars delete office")
    await found(
        tocsin,
        "jobs create backup --set kind=check --every 3600 --set target.grace_seconds=60 --json",
    )
    address = await found(tocsin, "checks token backup --json")
    check = await found(tocsin, "checks get backup --json")
    revoked = await tocsin("checks token backup --revoke")

    assert (office["dates"], office["holidays"]) == (["2099-12-24"], ["DE-BY"])
    assert listed.stdout == "office\n"
    assert (gone.exit_code, revoked.exit_code) == (0, 0), gone.output
    assert address["path"].startswith("/ping/")
    assert (check["status"], check["has_token"]) == ("new", True)


async def test_alerts_are_set_up_and_read(tocsin: Tocsin) -> None:
    channel = await found(
        tocsin, "alerts channels set ops --preset slack --url http://127.0.0.1:9/ --json"
    )
    rule = await found(
        tocsin,
        "alerts rules set three --event failed --event recovered --after 3 --channel ops --json",
    )
    tested = await found(tocsin, "alerts channels test ops --json")
    told = await found(tocsin, "alerts list --json channel,event")
    rules = await tocsin("alerts rules list -o name")
    gone = await tocsin("alerts rules delete three")
    empty = await tocsin("alerts rules list")

    assert (channel["preset"], channel["target"]) == ("slack", {"url": "http://127.0.0.1:9/"})
    assert (rule["events"], rule["after"], rule["channels"]) == (
        ["failed", "recovered"],
        3,
        ["ops"],
    )
    assert [tested["channel"], tested["event"]] == ["ops", told[0]["event"]]
    assert rules.stdout == "three\n"
    assert (gone.exit_code, empty.stdout) == (0, "")


async def test_contexts_keep_addresses_and_keys_for_their_owner_alone(
    tocsin: Tocsin, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOCSIN_URL")
    first = await tocsin(f"login here --url {served}/ --no-key")
    second = await tocsin(f"login production --url {served} --no-key --production")
    file = config_file()
    listed = await tocsin("context list")
    guarded = await tocsin(f"jobs create x --at {LATER} --url http://127.0.0.1:9/")
    read = await tocsin("jobs list")
    meant = await tocsin(f"jobs create x --at {LATER} --url http://127.0.0.1:9/ --yes")
    elsewhere = await tocsin(f"jobs create y --at {LATER} --url http://127.0.0.1:9/ --context here")
    await tocsin("context use here")
    removed = await tocsin("context remove production")
    left = await tocsin("context list")

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"* production  {served}  production" in listed.stdout
    assert guarded.exit_code == 2
    assert f"at production (production, {served})" in guarded.stderr
    assert f"at production (production, {served})" in meant.stderr
    assert (read.exit_code, meant.exit_code, elsewhere.exit_code) == (0, 0, 0), meant.output
    assert removed.exit_code == 0
    assert left.stdout == f"* here  {served}\n"


async def test_a_key_is_tried_before_it_is_kept_and_is_never_printed(
    tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch, served: str
) -> None:
    async def post(path: str, body: object) -> Any:  # noqa: ANN401
        with closing(Api(served)) as api:
            return await asyncio.to_thread(api.call, "POST", path, body=body)

    key = (await post("/v1/keys", {"name": "me", "scopes": ["read"]}))["key"]
    monkeypatch.delenv("TOCSIN_URL")

    wrong = await tocsin(f"login --url {served} --key-stdin", stdin="toc_wrong\n")
    nothing = config_file().exists()
    right = await tocsin(f"login --url {served} --key-stdin", stdin=f"{key}\n")
    read = await tocsin("jobs list")
    denied = await tocsin(f"jobs create --at {LATER} --url http://127.0.0.1:9/")

    assert (wrong.exit_code, nothing) == (4, False)
    assert (right.exit_code, read.exit_code, denied.exit_code) == (0, 0, 4)
    assert all(key not in one.output for one in (right, read, denied))


async def test_a_file_of_contexts_that_is_none_is_named(
    tocsin: Tocsin, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOCSIN_URL")
    config_file().parent.mkdir()
    config_file().write_text("contexts = 3")

    result = await tocsin("jobs list")

    assert result.exit_code == 2
    assert str(config_file()) in result.stderr


def test_commands_that_use_the_api_import_nothing_of_the_service() -> None:
    said = subprocess.run(  # noqa: S603 - our own words
        [
            sys.executable,
            "-c",
            PRINT_MODULES,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    heavy = {"aiohttp", "aio_pika", "asyncpg", "asyncio", "litestar", "msgspec", "rich", "yaml"}
    assert not heavy & {*said[0].split()}
    assert all(one.startswith("app.cli") for one in said[1].split())


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("jobs create", "tocsin jobs create -f nightly.yaml"),
        ("maintenance begin", "tocsin maintenance begin --tag billing --to 2026-12-24T18:00:00Z"),
        ("pauses begin", "tocsin pauses begin --tag billing --reason 'the receiver is broken'"),
    ],
)
def test_examples_in_helps_are_lines_of_their_own(command: str, example: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), "--help"])

    assert "\\b" not in done.output
    assert f"\n  {example}" in done.output


def test_the_line_of_each_command_is_the_beginning_of_its_help() -> None:
    for name, (_, line) in main.lazy.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert line == command.get_short_help_str(200), name


def test_the_page_about_commands_has_every_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", text, re.MULTILINE)}

    named = {one for name, one in vars(errors).items() if name.isupper() and one is not EXIT_CODES}
    assert codes == {0, *named}
