"""The wheels have all that Tocsin and its client need, and run where there is no checkout."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
IN_AN_EMPTY_PLACE = """
import sys
import app
from app.cli.main import main
from app.db.queries import load_queries

assert app.__file__.startswith(sys.argv[1]), app.__file__
print(len(load_queries()))
"""


WITH_THE_CLIENT = """
import sys
import tocsin

assert tocsin.__file__.startswith(sys.prefix), tocsin.__file__
job = tocsin.operations.get_job("nightly")
try:
    tocsin.Tocsin("http://127.0.0.1:1", attempts=1).send(job)
except tocsin.NotConnected as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(  # noqa: S603 - our own Python
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", directory, ROOT),
        ],
        check=True,
    )
    (built,) = directory.glob("tocsin-*.whl")
    with ZipFile(built) as archive:
        yield archive


def test_every_file_of_app_and_db_is_in_the_wheel(wheel: ZipFile) -> None:
    ours = {
        str(file.relative_to(ROOT))
        for directory in ("app", "db")
        for file in (ROOT / directory).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }

    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == ours


def test_the_installed_wheel_finds_its_sql(wheel: ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)

    done = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", IN_AN_EMPTY_PLACE, tmp_path],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_client_is_built_both_ways_and_runs_with_what_it_declares_alone(tmp_path: Path) -> None:
    build = "import sys; from hatchling import build; print(build.build_sdist(sys.argv[1]))"
    source = run("-c", build, str(tmp_path), cwd=ROOT / "clients/python").split()[-1]
    pip = ("-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps")
    run(*pip, "--no-build-isolation", "-w", str(tmp_path), str(tmp_path / source), cwd=tmp_path)
    (built,) = tmp_path.glob("*.whl")
    place = tmp_path / "environment"
    run("-m", "venv", "--without-pip", str(place), cwd=tmp_path)
    (packages,) = place.glob("lib/python*/site-packages")

    with ZipFile(built) as archive:
        archive.extractall(packages)
        modules = {name for name in archive.namelist() if name.startswith("tocsin/")}
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        needed = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist", [])
    for name in all_needed(needed):
        copy_files(distribution(name), packages)

    assert modules == {
        str(file.relative_to(ROOT / "clients/python/src"))
        for file in (ROOT / "clients/python/src/tocsin").rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert "does not answer" in run(
        "-c", WITH_THE_CLIENT, cwd=tmp_path, python=place / "bin/python"
    )


def run(*arguments: str, cwd: Path, python: Path | str = sys.executable) -> str:
    """Run Python, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own Python
        [python, *arguments], cwd=cwd, env={}, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def all_needed(requirements: list[str]) -> set[str]:
    """Name all distributions that have to be there for these requirements, without extras."""
    found: set[str] = set()
    left = list(requirements)
    while left:
        one = Requirement(left.pop())
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name)
        left += distribution(one.name).requires or []
    return found


def copy_files(installed: Distribution, place: Path) -> None:
    """Copy what belongs to a distribution, as it is installed here."""
    for file in installed.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), place / file)
