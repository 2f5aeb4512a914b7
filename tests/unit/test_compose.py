"""`compose.yaml` and the Dockerfile agree with the code; no engine is needed to see it."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.cli.main import main
from app.config import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "api", "scheduler")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def with_defaults(text: str) -> str:
    """Fill in the variables as Compose does in an empty environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_there_is_all_that_a_deployment_needs() -> None:
    assert SERVICES.keys() == {"postgres", "rabbitmq", *OURS}
    assert SERVICES["scheduler"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", SERVICES)
def test_every_dependency_is_a_service_and_its_condition_can_come_true(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        match how["condition"]:
            case "service_healthy":
                assert "healthcheck" in SERVICES[other]
            case "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"
            case unexpected:
                pytest.fail(f"{name} waits for {other} to be {unexpected}")


def test_nothing_of_ours_starts_before_the_schema_is_there() -> None:
    assert "migrate" in SERVICES["api"]["depends_on"]
    assert "migrate" in SERVICES["scheduler"]["depends_on"]
    assert "postgres" in SERVICES["migrate"]["depends_on"]


def parsed(arguments: list[str]) -> click.Context:
    """Parse a command line of ours, without running it."""
    name, *rest = arguments
    command = main.commands[name]
    while isinstance(command, click.Group):
        name, *rest = rest
        command = command.commands[name]
    return command.make_context(name, rest)


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_ours_with_its_options(name: str) -> None:
    assert parsed(SERVICES[name]["command"])


def test_the_commands_in_its_comment_are_ours_and_run_in_a_service_of_ours() -> None:
    quoted = re.findall(r"^#   docker compose run --rm (\w+) (.*)$", TEXT, re.MULTILINE)

    assert quoted
    assert all(service in OURS and parsed(line.split()) for service, line in quoted)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    environment = {
        variable: with_defaults(str(value))
        for variable, value in SERVICES[name]["environment"].items()
    }

    settings = Settings.from_environ(environment)

    assert settings.database_url == "postgresql://tocsin:tocsin@postgres:5432/tocsin"


@pytest.mark.parametrize("name", OURS)
def test_executions_may_end_by_themselves_before_the_container_is_killed(name: str) -> None:
    allowed_seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))

    assert allowed_seconds > Settings().grace_seconds


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", ["postgres", "rabbitmq"])
def test_data_outlive_their_container(name: str) -> None:
    volumes = [volume.split(":")[0] for volume in SERVICES[name]["volumes"]]

    assert set(volumes) <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", ["postgres", "rabbitmq"])
def test_images_of_others_are_of_one_major_version(name: str) -> None:
    assert re.fullmatch(r"\w+:\d+", SERVICES[name]["image"])


def test_the_image_runs_one_of_our_commands_and_not_as_root() -> None:
    (arguments,) = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)

    assert parsed(re.findall(r'"([^"]*)"', arguments))
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)


def test_all_that_the_image_is_built_from_is_sent_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source, _ in pairwise(line.split()[1:])
    }

    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
