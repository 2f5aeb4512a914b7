"""What a release has is frozen, and what is frozen says so when it is edited."""

import re
from pathlib import Path

import pytest
from packaging.version import Version

from tests.support import releases
from tests.support.releases import (
    CHANGELOG,
    MIGRATIONS,
    earlier_releases,
    found_digests,
    frozen_digests,
    project_version,
    released_versions,
    violations,
)

HEADINGS = re.findall(r"^## .+$", CHANGELOG.read_text("utf-8"), re.MULTILINE)
DATED = released_versions(CHANGELOG.read_text("utf-8"))


def test_no_migration_of_a_release_was_edited() -> None:
    found = violations(frozen_digests(), found_digests())

    assert not found, "\n".join(found)


@pytest.mark.parametrize("found", [{"0001_initial.sql": "b"}, {}], ids=["edited", "removed"])
def test_whoever_edits_a_migration_of_a_release_is_told_what_to_do_instead(
    found: dict[str, str],
) -> None:
    [said] = violations({"0001_initial.sql": "a"}, found)

    assert "db/migrations/0001_initial.sql belongs to a release" in said
    assert "db/migrations/0002_*.sql" in said


def test_freezing_lists_what_is_new_and_dates_the_changelog_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changelog, listed = tmp_path / "CHANGELOG.md", tmp_path / "RELEASED"
    changelog.write_text("# Changelog\n\n## [Unreleased]\n\n### Added\n")
    listed.write_text("# Digests\n")
    monkeypatch.setattr(releases, "CHANGELOG", changelog)
    monkeypatch.setattr(releases, "RELEASED", listed)
    monkeypatch.setattr(releases, "ARCHIVES", tmp_path)
    monkeypatch.setattr(releases, "ARCHIVED", ("pyproject.toml",))

    releases.freeze()

    assert frozen_digests() == found_digests()
    assert released_versions(changelog.read_text()) == [project_version()]
    assert (tmp_path / f"{project_version()}.tar.xz").is_file()
    with pytest.raises(SystemExit, match="raise the version"):
        releases.freeze()


def test_migrations_count_from_one_and_each_enters_its_own_number() -> None:
    entered = {
        file.name: re.findall(
            r"^insert into tocsin\.schema_migrations \(version(?:, breaking)?\) "
            r"values \((\d+)(?:, true)?\);",
            file.read_text("utf-8"),
            re.MULTILINE,
        )
        for file in sorted(MIGRATIONS.glob("*.sql"))
    }

    assert [int(name[:4]) for name in entered] == list(range(1, len(entered) + 1))
    assert entered == {name: [str(int(name[:4]))] for name in entered}


def test_a_version_with_a_date_has_all_its_migrations_frozen() -> None:
    is_released = project_version() in DATED

    assert not is_released or found_digests().keys() == frozen_digests().keys(), (
        f"{project_version()} is released: raise the version in pyproject.toml, then add migrations"
    )


def test_headings_of_the_changelog_are_versions_with_dates_the_newest_first() -> None:
    first, *others = HEADINGS

    assert first in {"## [Unreleased]", *[f"## [{one}] - {first[-10:]}" for one in DATED]}
    assert len(DATED) == len(others) + (first != "## [Unreleased]"), HEADINGS
    assert sorted(map(Version, DATED), reverse=True) == list(map(Version, DATED))


def test_upgrades_are_tested_from_every_earlier_release() -> None:
    earlier = [one for one in reversed(DATED) if one != project_version()]

    assert [one.version for one in earlier_releases()] == earlier
