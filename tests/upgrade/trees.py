"""Trees of code to upgrade from and to: a release out of its archive, and the working tree."""

import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from tests.support.releases import ROOT, Release, earlier_releases, project_version
from tests.upgrade.samples import ADDING, BREAKING

NEWER_VERSION = "1000.0.0"
"""Of a working tree with samples; newer than any release."""
BREAKS = re.compile(r"^insert into tocsin\.schema_migrations .*, true\);$", re.MULTILINE)


class Tree(Struct, frozen=True, kw_only=True):
    """Code of one version, in a directory that processes are started in."""

    path: Path

    @property
    def scripts(self) -> list[Path]:
        """Its migrations, in order."""
        return sorted((self.path / "db" / "migrations").glob("*.sql"))

    @property
    def schema(self) -> Path:
        return self.path / "db" / "schema.sql"

    @property
    def triggers(self) -> Path:
        return self.path / "db" / "triggers.sql"


class Upgrade(Struct, frozen=True, kw_only=True):
    """What is upgraded from and to."""

    release: Release | None = None
    """From here to the working tree; None: from the working tree to one with `samples`."""
    samples: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        return self.release.version if self.release else list(self.samples)[-1]

    @property
    def is_breaking(self) -> bool:
        """Whether instances of the older version have to end first."""
        if self.release is None:
            return any(BREAKS.search(script) for script in self.samples.values())
        return any(
            BREAKS.search(script.read_text("utf-8"))
            for script in Tree(path=ROOT).scripts[self.release.schema :]
        )

    def older(self, place: Path) -> Tree:
        """Put the code to upgrade from into a directory."""
        if self.release is None:
            return Tree(path=ROOT)
        unpack(self.release, place)
        return Tree(path=place)

    def newer(self, place: Path) -> Tree:
        """Put the code to upgrade to into a directory."""
        if self.release is not None:
            return Tree(path=ROOT)
        for name in ("app", "db"):
            shutil.copytree(ROOT / name, place / name)
        tree = Tree(path=place)
        add_migrations(tree, self.samples)
        describe(place, NEWER_VERSION)
        return tree


SAMPLES = (Upgrade(samples=ADDING), Upgrade(samples=BREAKING))
RELEASES = [Upgrade(release=release) for release in earlier_releases()]
UPGRADES = (*RELEASES, *SAMPLES)
FROM_THE_LAST = (*RELEASES[-1:], *SAMPLES)
"""Those that leave out no release: only beside these may instances of both versions run."""


def upgrades(*, breaking: bool | None = None) -> pytest.MarkDecorator:
    """Run a test once for each upgrade, or each from the last release that is breaking or not."""
    chosen = [
        one
        for one in (UPGRADES if breaking is None else FROM_THE_LAST)
        if breaking in (None, one.is_breaking)
    ]
    return pytest.mark.parametrize("upgrade", chosen, ids=[one.name for one in chosen])


def unpack(release: Release, place: Path) -> None:
    """Take the code of a release out of its archive."""
    with tarfile.open(release.archive) as archive:
        archive.extractall(place, filter="data")
    assert project_version(place) == release.version
    describe(place, release.version)


def describe(place: Path, version: str) -> None:
    """Say which version the code in a directory is, to processes that are started there."""
    described = place / f"tocsin-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tocsin\nVersion: {version}\n"
    )


def add_migrations(tree: Tree, samples: Mapping[str, str]) -> None:
    """Add migrations to a tree, and what they do to its schema.sql."""
    for number, (name, sample) in enumerate(samples.items(), start=len(tree.scripts) + 1):
        script = sample.format(number=number).lstrip()
        (tree.path / "db" / "migrations" / f"{number:04}_{name}.sql").write_text(script, "utf-8")
        in_one_transaction = re.sub(
            r"^(begin|commit);\n|concurrently ", "", script, flags=re.MULTILINE
        )
        with tree.schema.open("a", encoding="utf-8") as schema:
            schema.write(in_one_transaction)
