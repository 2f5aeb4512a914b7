"""What `tocsin mcp` makes of the operations that the API describes."""

import jsonschema_rs
import pytest

from app.cli.remote.api import Api
from app.cli.remote.tools import DESTRUCTIVE, Tool, tools_of
from tests.repository.test_openapi import DOCUMENT, OPERATIONS, SCHEMAS

TOOLS = {one.name: one for one in tools_of(DOCUMENT, {"read", "write"})}


def test_reading_alone_has_no_tool_that_changes_anything() -> None:
    reading = {one.name: one for one in tools_of(DOCUMENT, {"read"})}

    assert {"listJobs", "explainJob", "listUpcoming", "previewSchedule", "planJobs"} <= set(reading)
    assert not {one.name for one in reading.values() if one.is_destructive}
    assert {one.method for one in reading.values()} == {"GET", "POST"}
    posts = {one.name for one in reading.values() if one.method == "POST"}
    assert posts == {"previewSchedule", "planJobs"}


def test_no_tool_makes_keys_reads_the_audit_log_or_streams() -> None:
    assert not {"createKey", "listKeys", "putSecret", "listChanges", "streamEvents"} & set(TOOLS)


def test_what_takes_away_is_destructive_and_what_adds_is_not() -> None:
    assert set(OPERATIONS) >= DESTRUCTIVE
    destructive = {name for name, one in TOOLS.items() if one.is_destructive}
    assert {"deleteJob", "patchJob", "putJob", "createJobs", "applyJobs", "askBulk"} <= destructive
    assert "makeCheckToken" in destructive, "the address that a check had leads nowhere then"
    assert not {"createJob", "runJob", "pauseJob", "resumeJob"} & destructive
    assert TOOLS["deleteJob"].is_idempotent
    assert not TOOLS["createJob"].is_idempotent


@pytest.mark.parametrize("tool", TOOLS.values(), ids=str)
def test_the_arguments_of_a_tool_are_a_schema_that_stands_alone(tool: Tool) -> None:
    schema = tool.input_schema(SCHEMAS)

    validator = jsonschema_rs.validator_for(schema)
    assert not validator.is_valid({"no_such_argument": 1})
    for example in schema["properties"].get("body", {}).get("examples", ()):
        numbers = [
            name for name, one in schema["properties"].items() if one.get("type") == "integer"
        ]
        given = dict.fromkeys(schema["required"], "1") | dict.fromkeys(numbers, 1)
        given |= {"body": example}
        assert validator.is_valid(given), list(validator.iter_errors(given))


def test_a_job_of_another_kind_than_its_target_does_not_fit() -> None:
    validator = jsonschema_rs.validator_for(TOOLS["createJob"].input_schema(SCHEMAS))
    target = {"url": "https://example.com/", "method": "GET"}
    job = {"kind": "http", "target": target, "every_seconds": 90}

    assert validator.is_valid({"body": job})
    assert not validator.is_valid({"body": job | {"kind": "amqp"}})
    assert not validator.is_valid({"body": job | {"cron": "0 3 * * *"}})


@pytest.mark.parametrize("job", ["", ".", ".."])
def test_what_is_no_name_leads_to_no_other_operation(job: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        TOOLS["getJob"].call(Api("http://127.0.0.1:1"), {"job": job})
