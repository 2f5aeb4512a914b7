"""The code of a release comes out of git, and says by itself which version it is."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.releases import ROOT, Release
from tests.upgrade.filled import tocsin
from tests.upgrade.trees import Tree, unpack


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = subprocess.run(  # noqa: S603 - git, on a repository of this test
        ["git", "-C", repository, *identity, *arguments],  # noqa: S607
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Have a repository that the version 0.0.7 was released in, and that has gone on since."""
    made = tmp_path / "repository"
    for name in ("app", "db"):
        shutil.copytree(ROOT / name, made / name)
    (made / "pyproject.toml").write_text('[project]\nversion = "0.0.7"\n')
    git(tmp_path, "init", "--quiet", str(made))
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message", "Release 0.0.7")
    (made / "db" / "schema.sql").write_text("-- of the version after it\n")
    git(made, "commit", "--quiet", "--all", "--message", "Go on")
    return made


async def test_the_code_of_a_release_is_what_its_commit_has(
    repository: Path, tmp_path: Path
) -> None:
    commit = git(repository, "rev-parse", "HEAD~1")
    unpack(
        Release(version="0.0.7", commit=commit, schema=1),
        tmp_path / "old",
        repository=repository,
    )
    tree = Tree(path=tmp_path / "old")

    assert tree.schema.read_bytes() == (ROOT / "db" / "schema.sql").read_bytes()
    assert await tocsin(tree, "", "version") == "0.0.7"


def test_a_copy_without_the_history_says_what_to_do(repository: Path, tmp_path: Path) -> None:
    release = Release(version="0.0.6", commit="0" * 40, schema=1)

    with pytest.raises(AssertionError, match=r"0\.0\.6 is commit 0+, .*\(git fetch --unshallow"):
        unpack(release, tmp_path / "old", repository=repository)
