"""What has to hold of the files of this repository as such."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support import pins
from tests.support.triggers import joined

ROOT = Path(__file__).parents[2]
HIDDEN_BUT_OURS = {".ci", ".dockerignore", ".gitignore", ".npmrc", ".pre-commit-config.yaml"}
MADE_BY_TOOLS = {"__pycache__", "build", "dist", "htmlcov", "node_modules", "vendor"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text("utf-8")
MAX_FILE_LENGTH = 400
OURS = {"app", "clients", "db", "handbook", "tests", "tocsin"}
RECEIVERS = {name: SpecifierSet() for name in ("django", "flask", "litestar", "starlette")}
"""The frameworks that the client has adapters for, which its users have."""
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text("utf-8"))


def files(directory: Path) -> Iterator[Path]:
    """List what people wrote."""
    for entry in sorted(directory.iterdir()):
        hidden = entry.name.startswith(".") and entry.name not in HIDDEN_BUT_OURS
        if hidden or entry.name in MADE_BY_TOOLS:
            continue
        if entry.is_dir():
            yield from files(entry)
        elif entry.suffix not in {".png", ".ico", ".xz"}:
            yield entry


FILES = {str(file.relative_to(ROOT)): file for file in files(ROOT)}
TEXTS = {name: file.read_text("utf-8") for name, file in FILES.items()}
MODULES = {name: file for name, file in FILES.items() if file.suffix == ".py"}
PAGES = {name: file for name, file in FILES.items() if file.suffix == ".md"}
INDEX = "docs/adr/README.md"
DECISIONS = {
    name: file for name, file in PAGES.items() if name.startswith("docs/adr/") and name != INDEX
}


def declared(requirements: list[str]) -> dict[str, SpecifierSet]:
    parsed = [Requirement(requirement) for requirement in requirements]
    return {canonicalize_name(one.name): one.specifier for one in parsed}


RUNTIME = declared(PROJECT["project"]["dependencies"])
EXTRAS = PROJECT["project"]["optional-dependencies"]
OPTIONAL = declared([one for extra in EXTRAS.values() for one in extra])
GROUPS = PROJECT["dependency-groups"]
PINNED_GROUPS = [group for name, group in GROUPS.items() if name not in {"bench", "fuzz"}]
TOOLS = declared([one for group in PINNED_GROUPS for one in group if isinstance(one, str)])
PINNED = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", CONSTRAINTS, re.MULTILINE))


@pytest.mark.parametrize(
    "forbidden",
    [
        pytest.param(r"py[p]i\.|pythonhoste[d]\.|(registry|yarnpkg)\.\w+\.", id="package registry"),
        pytest.param(
            r"(?<![\w.])(/home/\w|/Users/\w|/roo[t]/\w|/tmp/\w/)", id="somebody's directory"
        ),
        pytest.param(r"\b(TOD[O]|FIXM[E]|XX[X])\b", id="unfinished"),
        pytest.param(r"^(<{7}|>{7}) ", id="unmerged"),
    ],
)
def test_no_file_has_what_belongs_elsewhere(forbidden: str) -> None:
    found = [
        (name, match[0])
        for name, text in TEXTS.items()
        for match in re.finditer(forbidden, text, re.MULTILINE)
    ]

    assert found == []


def test_every_file_ends_with_one_end_of_line() -> None:
    unfinished = [
        name for name, text in TEXTS.items() if text and not re.search(r"[^\n]\n\Z", text[-2:])
    ]

    assert unfinished == []


def test_no_module_has_so_many_lines_that_it_has_two_subjects() -> None:
    long = [
        name
        for name, file in MODULES.items()
        if name.startswith("app/") and len(file.read_text("utf-8").splitlines()) > MAX_FILE_LENGTH
    ]

    assert long == []


def test_the_triggers_are_what_their_parts_make() -> None:
    parts = [text for name, text in sorted(TEXTS.items()) if name.startswith("db/triggers/")]

    assert TEXTS["db/triggers.sql"] == joined(parts), "edit db/triggers/*.sql, then: make triggers"


def test_only_the_command_line_reads_the_environment() -> None:
    readers = [
        name
        for name, file in MODULES.items()
        if name.startswith("app/") and re.search(r"os\.environ|getenv", file.read_text("utf-8"))
    ]

    assert readers
    assert all(name.startswith("app/cli/") for name in readers)


@cache
def all_distributions() -> Mapping[str, list[str]]:
    """Return the distributions that each top-level package that is installed comes from."""
    return packages_distributions()


@cache
def imported(file: Path) -> set[str]:
    """Name the top-level packages that a module imports, or takes files from."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Import(names=aliases):
                names.update(alias.name.split(".")[0] for alias in aliases)
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.split(".")[0])
            case ast.Call(func=ast.Name(id="files"), args=[ast.Constant(value=str(package))]):
                names.add(package)
            case _:
                pass
    return names - sys.stdlib_module_names - OURS


@pytest.mark.parametrize(
    ("directory", "allowed"),
    [
        ("app", RUNTIME | declared([*EXTRAS["mcp"], *EXTRAS["otel"]])),
        ("tests", RUNTIME | OPTIONAL | TOOLS),
        ("clients/python/generating", RUNTIME),
        ("clients/python/src", declared(CLIENT["project"]["dependencies"]) | RECEIVERS),
    ],
)
def test_every_package_that_is_imported_is_declared(
    directory: str, allowed: dict[str, SpecifierSet]
) -> None:
    distributions = all_distributions()

    undeclared = [
        (name, package)
        for name, file in MODULES.items()
        if name.startswith(f"{directory}/")
        for package in imported(file)
        if not any(canonicalize_name(one) in allowed for one in distributions.get(package, ()))
    ]

    assert undeclared == []


@pytest.mark.parametrize("name", RUNTIME | OPTIONAL | TOOLS)
def test_every_dependency_is_pinned_within_its_range(name: str) -> None:
    assert PINNED[name] in (RUNTIME | OPTIONAL | TOOLS)[name]


@pytest.mark.parametrize("name", RUNTIME | OPTIONAL | TOOLS)
def test_every_dependency_is_explained(name: str) -> None:
    given = {
        "asyncpg",
        "litestar",
        "msgspec",
        "croniter",
        "aiohttp",
        "aio-pika",
        "stamina",
        "pytest",
    }
    explained = FILES["docs/adr/0005-dependencies.md"].read_text("utf-8").lower()

    assert name in given | {"testcontainers"} or f"**{name}**" in explained


def test_no_unit_test_draws_examples() -> None:
    """These take most of the time: they belong in `tests/properties`."""
    drawing = [
        name
        for name in MODULES
        if name.startswith("tests/unit/") and re.search(r"^@given", TEXTS[name], re.MULTILINE)
    ]

    assert drawing == []


def test_what_is_installed_to_run_is_pinned_as_all_is() -> None:
    assert pins.FILE.read_text("utf-8") == pins.written(), "python -m tests.support.pins"
    assert 40 < len(pins.needed()) < 100
    assert not {"pytest", "mypy", "playwright"} & pins.needed()


def test_a_fresh_clone_installs_to_run_no_more_than_that(tmp_path: Path) -> None:
    said = subprocess.run(  # noqa: S603 - our own words
        ["make", "--dry-run", "--no-print-directory", "run", f"VENV={tmp_path}/venv", "ARGS="],  # noqa: S607 - as installed
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert "--requirement constraints-run.txt" in said
    assert "--requirement constraints.txt" not in said
    assert said.splitlines()[-1].strip() == f"{tmp_path}/venv/bin/tocsin dev"


def test_every_pin_has_hashes_and_nothing_says_where_from() -> None:
    lines = [line.strip() for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    pins = [index for index, line in enumerate(lines) if "==" in line.split(";")[0]]

    assert all(lines[index + 1].startswith("--hash=sha256:") for index in pins)
    assert all(
        re.match(r"[a-z0-9.-]+==\S+( ; .+)? \\$|--hash=sha256:[0-9a-f]{64}( \\)?$", line)
        for line in lines
    )


def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)
    phony = re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)

    assert targets == explained == phony


@pytest.mark.parametrize("name", [*PAGES, ".ci/run", ".pre-commit-config.yaml", "compose.yaml"])
def test_every_target_that_is_spoken_of_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    quoted = re.findall(
        r"(?:^|`|entry: )make ([a-z-]+)", FILES[name].read_text("utf-8"), re.MULTILINE
    )

    assert set(quoted) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", PAGES[name].read_text("utf-8"))
    within = [link for link in links if "://" not in link and not link.startswith("mailto:")]

    missing = [link for link in within if not (PAGES[name].parent / link).exists()]

    assert missing == []


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [Path(name).name[:4] for name in DECISIONS]

    assert all(number.isdecimal() for number in numbers)
    assert len(numbers) == len(set(numbers))


def test_the_index_lists_every_decision_by_its_title() -> None:
    titles = {
        Path(name).name: TEXTS[name].partition("\n")[0].removeprefix("# ") for name in DECISIONS
    }

    listed = re.findall(r"^\| (\d{4}) \| \[(.+)\]\((.+)\) \|$", TEXTS[INDEX], re.MULTILINE)

    assert listed == [(file[:4], title, file) for file, title in titles.items()]


@pytest.mark.parametrize("name", DECISIONS)
def test_every_decision_says_why_what_and_what_follows(name: str) -> None:
    paragraphs = re.findall(r"^\*\*(\w+)\.\*\*", DECISIONS[name].read_text("utf-8"), re.MULTILINE)

    assert [one for one in paragraphs if one != "Alternatives"] == [
        "Context",
        "Decision",
        "Consequences",
    ]


def test_the_go_of_a_machine_is_judged_by_every_module_in_go() -> None:
    script = FILES["scripts/install-servers"].read_text("utf-8")
    [judged] = re.findall(r"for module in (.*); do", script)

    assert set(judged.split()) == {str(Path(name).parent) for name in FILES if "go.mod" in name}


def test_recipes_are_compiled_by_the_go_that_was_installed_beside_python(tmp_path: Path) -> None:
    for name in ("go", "npm"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$1" >> "${0%/*}/called"\n', "utf-8")
        (tmp_path / name).chmod(0o755)

    command = [ROOT / "scripts/install-recipes", tmp_path / "python"]
    subprocess.run(command, check=True)  # noqa: S603 - our own script

    called = (tmp_path / "called").read_text("utf-8").split()
    assert called[-1] == "-C"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "usage: scripts/try-packages PYTHON"),
        (["one", "two"], "usage: scripts/try-packages PYTHON"),
        (["/nowhere/python"], "usage: scripts/try-packages PYTHON"),
        (["{}/python"], "there is no uv beside"),
    ],
    ids=["none", "two", "not there", "without uv"],
)
def test_packages_are_tried_only_with_a_python_that_can(
    tmp_path: Path, given: list[str], said: str
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    command = [ROOT / "scripts/try-packages", *(one.format(tmp_path) for one in given)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        ".ci/run",
        *("scripts/make-env", "scripts/make-venv", "scripts/install-servers"),
        "scripts/try-packages",
    ],
)
def test_scripts_can_be_run_and_stop_at_the_first_error(name: str) -> None:
    assert os.access(FILES[name], os.X_OK)
    assert "\nset -euo pipefail\n" in FILES[name].read_text("utf-8")
