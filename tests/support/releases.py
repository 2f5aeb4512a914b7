"""The releases, and what is frozen with them: `python -m tests.support.releases` freezes the next.

A release is frozen by the digests of its migrations (db/migrations/RELEASED), its heading in
CHANGELOG.md and an archive of its code, from which upgrades are tested. See "Releasing" in
CONTRIBUTING.md.
"""

import re
import tarfile
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from msgspec import Struct
from packaging.version import Version

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "db" / "migrations"
RELEASED = MIGRATIONS / "RELEASED"
CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "## [Unreleased]"
ARCHIVES = ROOT / "tests" / "upgrade" / "releases"
SUFFIX = ".tar.xz"
ARCHIVED = ("app", "db", "pyproject.toml")


class Release(Struct, frozen=True, kw_only=True):
    """A release whose users have to be able to upgrade."""

    archive: Path
    """Its code: what `app`, `db` and `pyproject.toml` were."""

    @property
    def version(self) -> str:
        return self.archive.name.removesuffix(SUFFIX)

    @property
    def schema(self) -> int:
        """The last of its migrations."""
        with tarfile.open(self.archive) as archive:
            return max(
                int(Path(name).name[:4])
                for name in archive.getnames()
                if name.startswith("db/migrations/") and name.endswith(".sql")
            )


def earlier_releases() -> list[Release]:
    """Find every release but the one that the working tree is or becomes, the oldest first."""
    archives = [Release(archive=archive) for archive in ARCHIVES.glob(f"*{SUFFIX}")]
    return sorted(
        (one for one in archives if one.version != project_version()),
        key=lambda one: Version(one.version),
    )


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
    """Write down the digests of new migrations, date the release's heading, archive its code.

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
    archive_code(version)


def archive_code(version: str) -> None:
    """Pack the code of the working tree, without what Python compiled and what dates it."""

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        return None if entry.name.endswith("__pycache__") else entry

    ARCHIVES.mkdir(exist_ok=True)
    with tarfile.open(ARCHIVES / f"{version}{SUFFIX}", "w:xz", preset=9) as archive:
        for name in ARCHIVED:
            archive.add(ROOT / name, name, filter=kept)


if __name__ == "__main__":
    freeze()
