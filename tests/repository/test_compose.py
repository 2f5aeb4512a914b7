"""`compose.yaml` and the Dockerfile agree with the code; no engine is needed to see it."""

import re
import subprocess
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


DEFAULTED = re.compile(r"\$\{(\w+):-([^}]*)\}")
REQUIRED = re.compile(r"\$\{(\w+):\?run scripts/make-env\}")


def made(directory: Path) -> dict[str, str]:
    """Return what the script that the file asks for writes."""
    file = directory / "env"
    subprocess.run([ROOT / "scripts" / "make-env", file], check=True)  # noqa: S603 - our own
    return dict(line.split("=", 1) for line in file.read_text("utf-8").splitlines())


def filled(text: str, given: dict[str, str]) -> str:
    """Fill in the variables as Compose does where `given` is all that is set."""
    text = REQUIRED.sub(lambda match: given[match[1]], text)
    return DEFAULTED.sub(lambda match: given.get(match[1], match[2]), text)


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
    command = main.get_command(click.Context(main), name)
    while isinstance(command, click.Group):
        name, *rest = rest
        command = command.commands[name]
    assert command is not None, name
    return command.make_context(name, rest)


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_ours_with_its_options(name: str) -> None:
    assert parsed(SERVICES[name]["command"])


def test_the_commands_in_its_comment_are_ours_and_run_in_a_service_of_ours() -> None:
    quoted = re.findall(r"^#   docker compose run --rm (\w+) (.*)$", TEXT, re.MULTILINE)

    assert quoted
    assert all(service in OURS and parsed(line.split()) for service, line in quoted)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str, tmp_path: Path) -> None:
    given = made(tmp_path)
    environment = {
        variable: filled(str(value), given)
        for variable, value in SERVICES[name]["environment"].items()
    }

    settings = Settings.from_environ(environment)

    password = given["POSTGRES_PASSWORD"]
    wanted = f"postgresql://tocsin:{password}@postgres:5432/tocsin?sslmode=disable"
    assert settings.database_url == wanted
    assert settings.secret_keys == (given["TOCSIN_SECRET_KEYS"],)
    assert not settings.allow_private_targets
    assert settings.allowed_targets == ("rabbitmq",)


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_and_no_key_has_a_default(name: str) -> None:
    environment: dict[str, str] = SERVICES[name].get("environment", {})
    secret = {
        variable: re.sub(r"^\w+://\w+:(.*)@.*$", r"\1", value)
        for variable, value in environment.items()
        if re.search("PASS|KEY|URL", variable)
    }

    assert secret or name not in {"postgres", "rabbitmq", *OURS}
    assert all(REQUIRED.fullmatch(value) for value in secret.values())


def test_each_deployment_has_passwords_and_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = made(tmp_path), made(tmp_path / "other")

    assert one.keys() == other.keys() == set(REQUIRED.findall(TEXT))
    assert len({*one.values(), *other.values()}) == 2 * len(one)
    assert all(len(value) >= 44 for value in one.values())
    assert (tmp_path / "env").stat().st_mode & 0o077 == 0


def test_what_was_made_once_is_never_written_over(tmp_path: Path) -> None:
    kept = made(tmp_path)

    with pytest.raises(subprocess.CalledProcessError):
        made(tmp_path)

    assert (
        dict(line.split("=", 1) for line in (tmp_path / "env").read_text("utf-8").splitlines())
        == kept
    )


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
    variable = f"{name.upper()}_IMAGE"
    image = SERVICES[name]["image"]

    assert re.fullmatch(r"\w+:\d+", filled(image, {}))
    digest = f"{name}@sha256:{'0' * 64}"
    assert filled(image, {variable: digest}) == digest


@pytest.mark.parametrize(("name", "times"), [("PYTHON_IMAGE", 2), ("NODE_IMAGE", 1)])
def test_all_that_ours_is_built_from_can_be_pinned(name: str, times: int) -> None:
    argument = SERVICES["api"]["build"]["args"][name]
    [default] = re.findall(rf"^ARG {name}=(.*)$", DOCKERFILE, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert bases.count(f"${{{name}}}") == times
    assert len(bases) == 3
    assert filled(argument, {}) == default
    assert filled(argument, {name: "x"}) == "x"


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
