"""The wheel has all that Tocsin needs, and runs where there is no checkout."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
IN_AN_EMPTY_PLACE = """
import sys
import app
from app.cli.main import main
from app.db.queries import load_queries

assert app.__file__.startswith(sys.argv[1]), app.__file__
print(len(load_queries()))
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
