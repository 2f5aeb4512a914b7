"""`tocsin plan`, `apply`, `export`, `import`: jobs in files, against an API that is served."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import asyncpg
import jsonschema_rs
import pytest
import yaml

from app.core.sets.shorthand import at_length
from app.jobs.set_schema import set_schema
from tests.support.cluster import ROOT
from tests.support.commands import Tocsin, found
from tests.support.psql import run_psql

PAGE = (ROOT / "docs" / "files.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = [text for kind, text in BLOCKS if kind == "yaml"]
WHOLE, WITH_VARIABLE, ON_GITHUB, ON_GITLAB = FILES
[IN_TERRAFORM] = [text for kind, text in BLOCKS if kind == "hcl"]
URL = "http://127.0.0.1:9/"


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a directory of its own to be in."""
    directory = home / "repository"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


async def test_the_whole_example_of_the_page_is_planned_applied_exported_and_removed(
    tocsin: Tocsin, place: Path
) -> None:
    (place / "billing.yaml").write_text(WHOLE)

    planned = await tocsin("plan -f billing.yaml")
    refused = await tocsin("apply -f billing.yaml")
    applied = await tocsin("apply -f billing.yaml --yes")
    again = await tocsin("plan -f billing.yaml")
    exported = await tocsin("export --set billing")
    back = await tocsin("plan -f -", stdin=exported.stdout)
    (place / "billing.yaml").write_text(WHOLE.replace('"0 3 * * 1-5"', '"30 3 * * 1-5"'))
    changed = await tocsin("plan -f billing.yaml --utc")
    (place / "billing.yaml").write_text("set: billing\n")
    removed = await tocsin("apply -f billing.yaml --prune delete --yes")

    assert planned.exit_code == 7, planned.output
    assert "+ job nightly-invoice is new" in planned.stdout
    assert "? jobs.nightly-invoice.http.auth.token" in planned.stdout
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert applied.exit_code == 0, applied.output
    assert (again.exit_code, again.stdout.splitlines()[-1]) == (0, "set billing: 7 unchanged")
    assert (back.exit_code, back.stdout.splitlines()[-1]) == (0, "set billing: 7 unchanged")
    assert changed.exit_code == 7
    assert '    cron: "0 3 * * 1-5" → "30 3 * * 1-5"' in changed.stdout
    assert "✗ 5 of these runs fall away" in changed.stdout
    assert removed.stdout.splitlines()[-1] == "set billing: 7 deleted"


async def test_several_files_make_one_set_and_variables_are_filled_in(
    tocsin: Tocsin, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_URL", "http://127.0.0.1:9")
    (place / "jobs" / "more").mkdir(parents=True)
    (place / "jobs" / "a.yaml").write_text(WITH_VARIABLE)
    (place / "jobs" / "more" / "b.json").write_text(
        json.dumps(
            {"defaults": {"tags": ["b"]}, "jobs": {"b": {"http": {"url": URL}, "cron": "@daily"}}}
        )
    )

    applied = await tocsin("apply -f jobs --yes")
    one = await found(tocsin, "jobs get nightly-invoice --json")
    other = await found(tocsin, "jobs get b --json")
    sets = await found(tocsin, "sets list --json")
    forgotten = await tocsin("sets delete billing --yes")
    conflict = await tocsin("plan -f jobs")
    taken = await tocsin("plan -f jobs --take-over b --take-over nightly-invoice --json")

    assert applied.exit_code == 0, applied.output
    assert one["target"]["url"] == "http://127.0.0.1:9/invoice"
    assert (one["tags"], other["tags"]) == ([], ["b"])
    assert (sets[0]["name"], sets[0]["jobs"]) == ("billing", 2)
    assert forgotten.exit_code == 0
    assert (conflict.exit_code, "! job b is in the way" in conflict.stdout) == (6, True)
    assert "--take-over b" in conflict.stdout
    assert (taken.exit_code, json.loads(taken.stdout)["counts"]) == (7, {"take_over": 2})


WRONG = [
    ("jobs:\n  a: {cron: x\n", "f.yaml:3:1: is neither YAML nor JSON"),
    ("jobs:\n  a: {}\n  a: {}\n", "f.yaml:3:3: a: is there twice"),
    ("jobs:\n  a: &x {}\n  b: *x\n", "f.yaml:2:6: has an anchor"),
    ("set: s\njob: {}\n", "f.yaml:2:1: job: unknown field"),
    ("jobs: {}\n", "no file says which set"),
    ("- 1\n", "f.yaml:1:1: has no fields"),
    ("set: s\nenv: [NOBODY_SETS_THIS]\n", "f.yaml:2:7: env: the variable NOBODY_SETS_THIS"),
    (
        "set: s\njobs:\n  a:\n    cron: 61 * * * *\n    http: {url: http://x/, methd: GET}\n",
        "f.yaml:5:28: jobs.a.http.methd: ",
    ),
    (
        "set: s\ndefaults:\n  timezone: Mars\njobs:\n  a: {cron: '@daily', http: {url: http://x/}}\n",
        "f.yaml:3:3: jobs.a.timezone: ",
    ),
    (
        "set: s\ndefaults:\n  time_zone: UTC\njobs:\n  a: {cron: '@daily', http: {url: http://x/}}\n",
        "f.yaml:3:3: jobs.a.time_zone: ",
    ),
    ("set: s\ndefaults: {http: {}, htp: {}}\njobs: {}\n", "f.yaml:2:22: defaults.htp: is no field"),
    (
        "set: s\njobs:\n  a: {cron: '@daily'}\n",
        "f.yaml:3:3: jobs.a: calls nothing: write one of amqp",
    ),
    (
        "set: s\njobs:\n  a:\n    cron: '@daily'\n    htp: {url: http://x/}\n",
        "f.yaml:5:5: jobs.a.htp: unknown field: did you mean http?",
    ),
    ("set: s\nflows:\n  f:\n    rate: 0\n", "f.yaml:4:5: flows.f.rate: "),
]


async def test_what_is_wrong_is_named_by_file_line_column_and_field(
    tocsin: Tocsin, place: Path
) -> None:
    said = {}
    for text, _ in WRONG:
        (place / "f.yaml").write_text(text)
        result = await tocsin("plan -f f.yaml")
        said[text] = (result.exit_code, result.stderr)

    for text, expected in WRONG:
        code, error = said[text]
        assert code == 2, (text, error)
        assert expected in error


async def test_an_application_keeps_to_the_plan_that_was_reviewed(
    tocsin: Tocsin, place: Path
) -> None:
    job = {"http": {"url": URL}, "cron": "0 3 * * *"}
    (place / "f.json").write_text(json.dumps({"set": "s", "jobs": {"a": job}}))
    await tocsin("apply -f f.json --yes")
    (place / "f.json").write_text(
        json.dumps({"set": "s", "jobs": {"a": job | {"cron": "0 4 * * *"}}})
    )
    plan = await tocsin("plan -f f.json --json")
    (place / "plan.json").write_text(plan.stdout)
    await tocsin("jobs edit a --set timeout_seconds=60")

    stale = await tocsin("apply -f f.json --plan plan.json --yes")
    none = await tocsin("apply -f f.json --plan f.json --yes")

    assert plan.exit_code == 7
    assert (stale.exit_code, "plan again" in stale.stderr) == (6, True)
    assert (none.exit_code, "has no plan" in none.stderr) == (2, True)


async def test_a_set_is_exported_without_what_somebody_deleted(tocsin: Tocsin, place: Path) -> None:
    (place / "f.yaml").write_text(
        f"set: s\njobs:\n  a: {{http: {{url: {URL}}}, cron: '@daily'}}\n"
        f"  b: {{http: {{url: {URL}}}, cron: '@daily'}}\nflows: {{f: {{rate: 1}}}}\n"
    )
    await tocsin("apply -f f.yaml --yes")
    await tocsin("jobs delete a --yes")
    await tocsin("flows delete f --yes")

    exported = await tocsin("export --set s")

    assert exported.exit_code == 0, exported.output
    assert list(yaml.safe_load(exported.stdout)["jobs"]) == ["b"]
    assert "left out: /v1/jobs/a, which is gone" in exported.stderr


async def test_jobs_that_no_file_made_are_exported_and_taken_over_unchanged(
    tocsin: Tocsin, place: Path
) -> None:
    await tocsin(f"jobs create one --cron '0 3 * * *' --url {URL} --set metadata.n=1.50 --tag t")
    await tocsin(f"jobs create two --every 60 --url {URL} --method get --set priority=2")
    await tocsin(f"jobs create --every 60 --url {URL}")
    await tocsin("flows set f --rate 5")
    await tocsin("calendars set c --weekly 'MON-FRI 09:00-17:00'")

    exported = await tocsin("export")
    some = await tocsin("export --tag t")
    names = ("one", "two", "flow:f", "calendar:c")
    options = " ".join(f"--take-over {name}" for name in names)
    plan = await tocsin(f"plan -f - {options} --json", stdin=exported.stdout)

    assert "left out: the job" in exported.stderr
    assert exported.stdout.startswith("# yaml-language-server: $schema=http")
    assert json.loads(plan.stdout)["counts"] == {"take_over": 4}
    assert list(yaml.safe_load(some.stdout)["jobs"]) == ["one"]


async def test_a_crontab_is_imported_planned_and_applied(tocsin: Tocsin, place: Path) -> None:
    crontab = f"MAILTO=ops@example.com\n# Nightly report\n0 3 * * * curl -d a=1 {URL}\n@reboot x\n"
    (place / "crontab.txt").write_text(crontab)

    imported = await tocsin("import crontab crontab.txt --timezone Europe/Paris")
    (place / "jobs.yaml").write_text(imported.stdout)
    applied = await tocsin("apply -f jobs.yaml --yes")
    job = await found(tocsin, "jobs get nightly-report --json")
    rows = json.dumps({"jobname": "x", "schedule": "* * * * *", "command": "select 1"})
    of_pg_cron = await tocsin("import pg_cron -", stdin=rows)
    of_go = await tocsin("import go-scheduler -", stdin='[{"id": "a", "execute_at": "2020"}]')
    of_none = await tocsin("import go-scheduler -", stdin="no rows")

    assert "left out, 4: @reboot x" in imported.stderr
    assert applied.exit_code == 0, applied.output
    assert (job["timezone"], job["target"]["body"]) == ("Europe/Paris", "a=1")
    assert "left out, 1: x" in of_pg_cron.stderr
    assert (of_go.exit_code, of_none.exit_code) == (0, 2)


TABLES = """
create schema cron;
create table cron.job (jobid bigint, schedule text, command text, active boolean, jobname text);
insert into cron.job values (1, '0 3 * * *',
    $$select net.http_post('https://example.com/x', body := '{"a": 1}') as id$$, true, 'nightly');
create table public.jobs (id uuid, type text, status text, http_job jsonb, amqp_job jsonb,
    execute_at timestamptz, cron_schedule text, next_run timestamptz, locked_until timestamptz,
    locked_by text, tags text[], num_runs integer, created_at timestamptz, updated_at timestamptz);
insert into public.jobs (id, type, status, http_job, cron_schedule, next_run, tags) values
    ('11111111-0000-0000-0000-000000000000', 'HTTP', 'RUNNING',
     '{"url": "https://example.com/x", "method": "POST", "headers": {"X-Team": "a"}, "body": "h"}',
     '*/5 * * * *', now(), '{a}');
insert into public.jobs (id, type, status, amqp_job, execute_at, next_run) values
    ('22222222-0000-0000-0000-000000000000', 'AMQP', 'RUNNING',
     '{"connection": "amqp://guest:x@broker/", "exchange": "e", "routing_key": "k", "body": "x"}',
     '2100-01-01 01:00+01', '2100-01-01 01:00+01');
"""
"""What pg_cron, and the Go scheduler, have in their databases."""


async def test_rows_of_other_schedulers_come_from_psql_as_the_page_says(
    tocsin: Tocsin, place: Path, connection: asyncpg.Connection, database_url: str
) -> None:
    await connection.execute(TABLES)
    piped = re.findall(r"psql -Atc '(.*)' \| tocsin (import \S+ -) > jobs.yaml", PAGE)
    made = {}
    for statement, command in piped:
        rows = run_psql(database_url, f"set search_path = public; {statement}")
        imported = await tocsin(command, stdin=rows)
        text = imported.stdout.replace("set: imported", f"set: s{len(made)}")
        (place / "jobs.yaml").write_text(text)
        applied = await tocsin("apply -f jobs.yaml --yes")
        assert applied.exit_code == 0, imported.output + applied.output
        made[command] = yaml.safe_load(imported.stdout)["jobs"]
    listed = await found(tocsin, "jobs list --json name,cron,run_at")

    assert [len(one) for one in made.values()] == [1, 2]
    assert sorted(listed, key=lambda one: str(one["name"])) == [
        {"name": "amqp-22222222", "cron": None, "run_at": "2100-01-01T00:00:00Z"},
        {"name": "http-11111111", "cron": "*/5 * * * *", "run_at": None},
        {"name": "nightly", "cron": "0 3 * * *", "run_at": None},
    ]


RECIPES = {
    "GitHub": lambda: commands_in(yaml.safe_load(ON_GITHUB)),
    "GitLab": lambda: commands_in(yaml.safe_load(ON_GITLAB)),
    "Terraform": lambda: re.findall(
        r'command = "(.*)"', IN_TERRAFORM.replace("${path.module}", ".")
    ),
}
"""The commands of each recipe of the page."""


@pytest.mark.parametrize("recipe", RECIPES)
async def test_the_recipes_for_ci_do_what_they_say(
    tocsin: Tocsin, place: Path, served: str, recipe: str
) -> None:
    (place / "jobs").mkdir()
    job = {"http": {"url": URL}, "cron": "0 3 * * *"}
    (place / "jobs" / "f.json").write_text(json.dumps({"set": "s", "jobs": {"a": job}}))
    lines = [line for line in RECIPES[recipe]() if line.startswith("tocsin")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    for line in lines:
        process = await asyncio.create_subprocess_shell(
            line,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "TOCSIN_URL": served, "PATH": path},
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, (line, said)

    assert lines[-1].startswith("tocsin apply ")
    assert (await tocsin("plan -f jobs")).exit_code == 0


def commands_in(value: Any) -> list[str]:  # noqa: ANN401 - YAML
    """Return what a recipe runs, in its order."""
    match value:
        case dict():
            return [
                line
                for name, one in value.items()
                for line in (
                    [one] if name == "run" else one if name == "script" else commands_in(one)
                )
            ]
        case list():
            return [line for one in value for line in commands_in(one)]
        case _:
            return []


def test_the_schema_takes_the_files_of_the_page_and_refuses_others() -> None:
    judge = jsonschema_rs.validator_for(set_schema())
    whole = yaml.safe_load(WHOLE)

    assert [error.message for error in judge.iter_errors(whole)] == []
    assert judge.is_valid(yaml.safe_load(WITH_VARIABLE))
    for wrong in (
        {"sett": "x"},
        {"jobs": {"a": {"http": {"url": URL}, "amqp": {}}}},
        {"jobs": {"a": {"http": {"url": URL}, "crn": "x"}}},
        {"jobs": {"a": {"http": {"urll": URL}}}},
        {"jobs": {"a": {"cron": "@daily"}}},
        {"flows": {"f": {"rate": 0}}},
    ):
        assert not judge.is_valid(wrong), wrong
    assert at_length(whole["jobs"]["refresh-rates"], "http")["kind"] == "http"


async def test_the_schema_is_printed_and_served(tocsin: Tocsin, served: str) -> None:
    printed = await found(tocsin, "schema")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
        f"{served}/schemas/jobs.schema.json",
        stdout=asyncio.subprocess.PIPE,
    )
    served_text, _ = await process.communicate()

    assert json.loads(served_text) == printed
