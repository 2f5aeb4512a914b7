"""The releases, and what is frozen with them: `python -m tests.support.releases` freezes the next.

A release is frozen by the digests of its migrations (db/migrations/RELEASED) and its heading in
CHANGELOG.md. See "Releasing" in CONTRIBUTING.md.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "db" / "migrations"
RELEASED = MIGRATIONS / "RELEASED"
CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "## [Unreleased]"


class Release(Struct, frozen=True, kw_only=True):
    """A release whose users have to be able to upgrade."""

    version: str
    commit: str
    """Where its code is taken from: git has to have it."""
    schema: int
    """The last of its migrations."""


RELEASES: tuple[Release, ...] = ()
"""Every release but the one that the working tree is or becomes, the oldest first.

Each is added by the commit that raises the version after it.
"""


def project_version(tree: Path = ROOT) -> str:
    """Read the version, which stands in pyproject.toml alone."""
    project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def released_versions(changelog: str) -> list[str]:
    """Name the versions that have a heading with a date, in the order of the page."""
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)


def found_digests() -> dict[str, str]:
    """Compute the digest of each migration, by the name of its file."""
    return {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in sorted(MIGRATIONS.glob("*.sql"))
    }


def frozen_digests() -> dict[str, str]:
    """Read the digests that are written down, by the names of files."""
    lines = re.findall(r"^([0-9a-f]{64})  (\S+)$", RELEASED.read_text("utf-8"), re.MULTILINE)
    return {name: digest for digest, name in lines}


def violations(frozen: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Say of each migration of a release that was edited or removed what to do instead."""
    following = max((int(name[:4]) for name in (*found, *frozen)), default=0) + 1
    return [
        f"db/migrations/{name} belongs to a release and may not change, as databases have it: "
        f"take the edit back (git checkout), and write what it was meant to do into "
        f"db/migrations/{following:04}_*.sql and db/schema.sql"
        for name, digest in frozen.items()
        if found.get(name) != digest
    ]


def freeze() -> None:
    """Write down the digests of the migrations that are new, and date the heading of the release.

    Raises:
        SystemExit: a frozen migration was edited, or the version is released already.
    """
    frozen, found = frozen_digests(), found_digests()
    changelog, version = CHANGELOG.read_text("utf-8"), project_version()
    if edited := violations(frozen, found):
        raise SystemExit("\n".join(edited))
    if UNRELEASED not in changelog or version in released_versions(changelog):
        raise SystemExit(
            f"{version} is released, or CHANGELOG.md has no line {UNRELEASED!r}: raise the version "
            "in pyproject.toml, and say in CHANGELOG.md what changed"
        )
    with RELEASED.open("a", encoding="utf-8") as file:
        file.writelines(f"{found[name]}  {name}\n" for name in sorted(found.keys() - frozen.keys()))
    heading = f"## [{version}] - {datetime.now(UTC):%Y-%m-%d}"
    CHANGELOG.write_text(changelog.replace(UNRELEASED, heading, 1), "utf-8")


if __name__ == "__main__":
    freeze()
