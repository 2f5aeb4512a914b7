"""The code of a release comes out of its archive, and says by itself which version it is."""

import tarfile
from pathlib import Path

import pytest

from tests.support import releases
from tests.support.releases import ROOT, earlier_releases, project_version
from tests.upgrade.filled import tocsin
from tests.upgrade.trees import Tree, unpack


async def test_the_code_of_a_release_is_what_was_archived_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "ARCHIVES", tmp_path)
    version = project_version()
    releases.archive_code(version)
    assert earlier_releases() == [], "the working tree is no earlier release"
    monkeypatch.setattr(releases, "project_version", lambda: "1000.0.0")
    [release] = earlier_releases()

    unpack(release, tmp_path / "old")
    tree = Tree(path=tmp_path / "old")

    assert release.version == version
    assert release.schema == len(tree.scripts)
    assert tree.schema.read_bytes() == (ROOT / "db" / "schema.sql").read_bytes()
    assert await tocsin(tree, "", "version") == version


def test_an_archive_has_nothing_that_differs_from_day_to_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "ARCHIVES", tmp_path)

    made = []
    for _ in range(2):
        releases.archive_code("0.0.7")
        made.append((tmp_path / "0.0.7.tar.xz").read_bytes())

    assert made[0] == made[1]
    with tarfile.open(tmp_path / "0.0.7.tar.xz") as archive:
        assert not [name for name in archive.getnames() if "__pycache__" in name]
