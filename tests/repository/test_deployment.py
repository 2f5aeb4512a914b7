"""What is in `deploy` is what Kubernetes and systemd take, and what Tocsin reads."""

import re
import shlex
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from msgspec import Struct

from app.cli.main import main
from app.config import Settings
from tests.support.vault import KEY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
VERSIONS = ("1.31", "1.34", kubernetes_validate.latest_version())
"""Of Kubernetes: the first and one more with `preStop.sleep` on by default, and the newest."""
MAX_EXPOSED = 1.5
"""As `systemd-analyze security` counts: from 0 to 10."""
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


class Found(Struct, frozen=True):
    """A document of the manifests."""

    file: str
    body: dict[str, Any]

    @property
    def template(self) -> dict[str, Any]:
        return dict(self.body["spec"]["template"])

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.template["spec"]["containers"]
        return dict(container)


MANIFESTS = [
    Found(file.name, body)
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for body in yaml.safe_load_all(file.read_text("utf-8"))
]
PODS = [one for one in MANIFESTS if "template" in one.body["spec"]]
RUNNING = [one for one in PODS if one.body["kind"] == "Deployment"]


def named(one: Found) -> str:
    return f"{one.body['kind']} {one.body['metadata']['name']}"


def is_command(words: list[str]) -> bool:
    """Return whether words are a command of ours with options that it has."""
    name, *rest = words
    command = main.get_command(click.Context(main), name)
    while isinstance(command, click.Group):
        name, *rest = rest
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return bool(command.make_context(name, rest))


def test_there_is_all_that_a_deployment_needs() -> None:
    assert {named(one) for one in MANIFESTS} == {
        "Job tocsin-migrate",
        *("Deployment tocsin-api", "Service tocsin-api", "PodDisruptionBudget tocsin-api"),
        *("Deployment tocsin-scheduler", "PodDisruptionBudget tocsin-scheduler"),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    for one in MANIFESTS:
        kubernetes_validate.validate(one.body, version, strict=True)


def test_a_field_that_kubernetes_lacks_is_noticed() -> None:
    [service] = [one.body for one in MANIFESTS if one.body["kind"] == "Service"]
    wrong = service | {"spec": service["spec"] | {"selektor": {}}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("one", PODS, ids=named)
def test_every_pod_runs_a_command_of_ours_with_settings_that_there_are(one: Found) -> None:
    variables = {
        variable["name"]: variable.get("value") or secret_of(variable["valueFrom"]["secretKeyRef"])
        for variable in one.container["env"]
    }

    assert is_command(one.container["args"])
    assert Settings.from_environ(variables).required_database_url()


def secret_of(reference: dict[str, str]) -> str:
    """Return what the page puts under the key of a secret."""
    assert reference["name"] == "tocsin"
    [shown] = re.findall(rf"--from-literal={reference['key']}=(.*?)(?: \\)?$", PAGE, re.MULTILINE)
    return KEY if "urandom" in shown else shlex.split(shown)[0]


@pytest.mark.parametrize("one", PODS, ids=named)
def test_every_pod_may_do_as_little_as_it_can(one: Found) -> None:
    pod, container = one.template["spec"]["securityContext"], one.container["securityContext"]

    assert pod["runAsNonRoot"] is True
    assert f"--uid {pod['runAsUser']} " in (ROOT / "Dockerfile").read_text("utf-8")
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one.template["spec"]["automountServiceAccountToken"] is False
    assert one.container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("one", PODS, ids=named)
def test_every_pod_has_the_image_of_this_version(one: Found) -> None:
    [version] = re.findall(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )

    assert one.container["image"] == f"tocsin:{version}"
    assert set(re.findall(r"tocsin:(\d[\d.]*\d)", PAGE)) == {version}


@pytest.mark.parametrize("one", RUNNING, ids=named)
def test_executions_may_end_by_themselves_before_a_pod_is_killed(one: Found) -> None:
    pause = one.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})

    assert (
        one.template["spec"]["terminationGracePeriodSeconds"]
        > Settings().grace_seconds + pause["seconds"]
    )


@pytest.mark.parametrize("one", RUNNING, ids=named)
def test_a_pod_is_restarted_when_it_hangs_and_not_for_an_outage_of_the_database(
    one: Found,
) -> None:
    ports = {port["name"]: port["containerPort"] for port in one.container["ports"]}
    variables = {variable["name"]: variable.get("value") for variable in one.container["env"]}
    [port] = ports.values()

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = one.container[probe]["httpGet"]
        assert asked["path"] == f"/health/{'ready' if probe == 'readinessProbe' else 'live'}"
        assert asked["port"] in ports
    assert port in {int(variables.get("TOCSIN_HEALTH_PORT", 0)), Settings().port}


@pytest.mark.parametrize(
    "one", [one for one in MANIFESTS if "selector" in one.body["spec"]], ids=named
)
def test_every_selector_finds_pods(one: Found) -> None:
    selector = one.body["spec"]["selector"]
    wanted = selector.get("matchLabels", selector).items()

    assert any(wanted <= pods.template["metadata"]["labels"].items() for pods in RUNNING)


def unit_of(file: Path) -> RawConfigParser:
    unit = RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keys as they are written
    unit.read_string(file.read_text("utf-8"))
    return unit


def installed(folder: Path) -> list[Path]:
    """Copy the units with a program that this machine has."""
    copies = []
    for file in UNITS:
        copy = folder / file.name
        text = file.read_text("utf-8").replace("/opt/tocsin/bin/tocsin", sys.executable)
        copy.write_text(text, "utf-8")
        copies.append(copy)
    return copies


def analyzed(*arguments: str | Path) -> str:
    done = subprocess.run(  # noqa: S603 - the installed one
        ["systemd-analyze", *arguments],  # noqa: S607 - as installed
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    units = installed(tmp_path)

    assert [unit.name for unit in units] == ["tocsin-api.service", "tocsin-scheduler@.service"]
    # Not those of the system on which they depend, whatever is said of these here.
    assert analyzed("verify", "--recursive-errors=no", *units) == ""


def test_every_unit_may_do_as_little_as_it_can(tmp_path: Path) -> None:
    for unit in installed(tmp_path):
        said = analyzed("security", "--offline=true", "--no-pager", unit)

        [exposure] = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert float(exposure) <= MAX_EXPOSED


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_every_unit_runs_a_command_of_ours_and_lets_executions_end(file: Path) -> None:
    service = unit_of(file)["Service"]
    program, *words = shlex.split(service["ExecStart"])

    assert f"python3 -m venv {program.removesuffix('/bin/tocsin')} " in PAGE
    assert is_command(words)
    assert int(service["TimeoutStopSec"]) > Settings().grace_seconds


def test_the_variables_on_the_page_are_settings() -> None:
    lines = re.findall(r"^(?:export |echo )?(TOCSIN_\w+)=(\S+)", PAGE, re.MULTILINE)
    shown = {name: shlex.split(value)[0] for name, value in lines}

    assert len(shown) == 3
    assert Settings.from_environ(shown).log_format == "json"


def test_every_address_on_the_page_has_postgres_prove_who_it_is() -> None:
    addresses = re.findall(r"postgresql://[^\s'\"]+", PAGE)

    assert len(addresses) == 5
    assert all("?sslmode=verify-full&sslrootcert=system" in one for one in addresses)


def test_the_first_key_is_made_with_the_address_of_the_secret_and_not_in_plain_sight() -> None:
    [run] = re.findall(r"^kubectl run (.*?) -- keys", PAGE, re.MULTILINE | re.DOTALL)
    words = shlex.split(run)
    [overrides] = [word for word in words if word.startswith("--overrides=")]
    pod = yaml.safe_load(overrides.removeprefix("--overrides="))
    [container] = pod["spec"]["containers"]
    [variable] = container["env"]

    assert (container["name"], variable["name"]) == (words[0], "TOCSIN_DATABASE_URL")
    assert secret_of(variable["valueFrom"]["secretKeyRef"]).startswith("postgresql://api:")
    assert "postgresql://" not in run
    whole = {"image": "tocsin", **container}
    body = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [whole]}}
    kubernetes_validate.validate(body, VERSIONS[-1], strict=True)


def test_every_role_with_rights_in_a_dump_is_made_before_it_is_restored() -> None:
    [names] = re.findall(
        r"foreach name in array array\[(.*?)\]", (ROOT / "db" / "roles.sql").read_text("utf-8")
    )

    assert re.findall(r"^create role (\w+);", PAGE, re.MULTILINE) == re.findall(r"'(\w+)'", names)


def test_a_migration_is_waited_for_as_long_as_it_may_take() -> None:
    [migrate] = [one for one in PODS if one.body["kind"] == "Job"]
    seconds = migrate.body["spec"]["activeDeadlineSeconds"]
    shown = PAGE + (ROOT / "deploy" / "kubernetes" / "migrate.yaml").read_text("utf-8")
    waits = re.findall(r"kubectl wait .*? job/tocsin-migrate", shown)

    assert len(waits) == 2
    assert all(f"--timeout={seconds // 60}m " in wait for wait in waits)


def test_every_command_of_ours_on_the_page_is_one() -> None:
    lines = re.findall(r"(?:bin/|`|-- )tocsin ([^`&\n]+)|-- (keys .*)", PAGE)
    commands = [one or other for one, other in lines]

    assert len(commands) > 5
    assert all(is_command(shlex.split(command)) for command in commands)
