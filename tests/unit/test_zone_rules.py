import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.schedule import zone_rules as rules
from app.core.schedule.zone_rules import (
    AUTO,
    PACKAGE,
    SYSTEM,
    choose_rules,
    find_versions,
    from_archive,
    version_in,
)
from app.core.schedule.zones import InUse, offset_at, use_rules, zone_named
from app.errors import InvalidInput, InvalidSettings
from tests.support.zones import ALWAYS_WEST_7, ALWAYS_WEST_8, VANCOUVER, zone_tree

DECEMBER = datetime(2026, 12, 15, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def what_was_chosen(monkeypatch: pytest.MonkeyPatch):
    choose_rules.cache_clear()
    monkeypatch.setattr(InUse, "rules", None)
    yield
    choose_rules.cache_clear()


def system(monkeypatch: pytest.MonkeyPatch, *directories: Path) -> None:
    monkeypatch.setattr(zoneinfo, "TZPATH", tuple(map(str, directories)))


def hours(setting: str, name: str = VANCOUVER) -> float:
    zone = choose_rules(setting).zone(name)
    assert zone is not None
    return offset_at(zone, DECEMBER) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("tzdata.zi", "# version 2025b\n# This zic input file is in the public domain.\n", "2025b"),
        ("tzdata.zi", "# version 2026aa-dirty\n", "2026aa"),
        ("+VERSION", "2024a\n", "2024a"),
        ("version", "2023c", "2023c"),
        ("tzdata.zi", "# a comment\n# version 2025b\n", ""),
        ("tzdata.zi", "", ""),
        ("tzdata.zi", "\udcff" * 3, ""),
        ("README", "2025b", ""),
    ],
)
def test_the_version_is_what_the_system_says_of_it(
    tmp_path: Path, file: str, content: str, version: str
):
    (tmp_path / file).write_bytes(content.encode("utf-8", "surrogateescape"))

    assert version_in(tmp_path) == version


def test_the_package_is_taken_where_the_system_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    system(monkeypatch, zone_tree(tmp_path, "2025b", ALWAYS_WEST_8))

    assert choose_rules(AUTO).source == PACKAGE
    assert hours(AUTO) == -7, "British Columbia stays at UTC-7 from 2026 on"


def test_the_system_is_taken_where_it_is_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system(monkeypatch, zone_tree(tmp_path, "2099a", ALWAYS_WEST_8))

    assert (choose_rules(AUTO).source, choose_rules(AUTO).version) == (SYSTEM, "2099a")
    assert hours(AUTO) == -8


def test_the_newest_of_several_directories_of_the_system_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = zone_tree(tmp_path / "old", "2001a", ALWAYS_WEST_8)
    system(monkeypatch, old, tmp_path / "none", zone_tree(tmp_path / "n", "2099b", ALWAYS_WEST_7))

    assert (choose_rules(AUTO).version, hours(AUTO)) == ("2099b", -7)


def test_rules_that_do_not_say_their_version_are_older_than_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tree = zone_tree(tmp_path, "2099a", ALWAYS_WEST_8)
    (tree / "tzdata.zi").unlink()
    system(monkeypatch, tree)

    assert choose_rules(AUTO).source == PACKAGE
    assert (choose_rules(SYSTEM).source, choose_rules(SYSTEM).version, hours(SYSTEM)) == (
        SYSTEM,
        "",
        -8,
    )
    assert str(choose_rules(SYSTEM)) == "of unknown version (system)"


def test_a_zone_that_is_packaged_apart_comes_from_the_other_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    system(monkeypatch, zone_tree(tmp_path, "2099a", ALWAYS_WEST_8))

    assert hours(AUTO, "US/Hawaii") == -10
    assert "US/Hawaii" in choose_rules(AUTO).names


@pytest.mark.parametrize("setting", [SYSTEM, PACKAGE, "a directory"])
def test_rules_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str):
    system(monkeypatch, zone_tree(tmp_path / "system", "2025b", ALWAYS_WEST_8))
    directory = zone_tree(tmp_path / "mine", "2024a", {VANCOUVER: "Etc/GMT+3"})
    setting = str(directory) if setting == "a directory" else setting

    expected = {SYSTEM: (SYSTEM, "2025b", -8), PACKAGE: (PACKAGE, find_versions()[PACKAGE], -7)}

    rules = choose_rules(setting)
    assert (rules.source, rules.version, hours(setting)) == expected.get(
        setting, (setting, "2024a", -3)
    )


def test_rules_that_are_not_there_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system(monkeypatch, tmp_path / "none")

    assert choose_rules(AUTO).source == PACKAGE
    for setting in (SYSTEM, str(tmp_path / "none")):
        with pytest.raises(InvalidSettings, match=r"TOCSIN_TZDATA is .*; auto takes what there is"):
            choose_rules(setting)


def test_without_the_package_the_system_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system(monkeypatch, zone_tree(tmp_path, "2001a", ALWAYS_WEST_8))
    monkeypatch.setattr(rules, "package_directory", lambda: None)
    choose_rules.cache_clear()

    assert choose_rules(AUTO).source == SYSTEM
    with pytest.raises(InvalidSettings):
        choose_rules(PACKAGE)
    system(monkeypatch, tmp_path / "none")
    choose_rules.cache_clear()
    with pytest.raises(InvalidSettings, match="install tzdata"):
        choose_rules(AUTO)


def test_a_process_goes_by_the_newest_rules_unless_told_otherwise(tmp_path: Path):
    newest = max(find_versions().values())
    tree = zone_tree(tmp_path, "2001a", ALWAYS_WEST_8)

    before = offset_at(zone_named(VANCOUVER), DECEMBER)
    use_rules(str(tree))
    told = offset_at(zone_named(VANCOUVER), DECEMBER)

    assert use_rules(AUTO).version == newest
    assert (before, told) == (timedelta(hours=-7), timedelta(hours=-8))


def test_what_is_packed_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system(monkeypatch, zone_tree(tmp_path, "2099a", ALWAYS_WEST_8))
    packed = choose_rules(AUTO).archive()

    again = from_archive("2099a", packed)

    assert len(packed) < 100_000
    assert again.names == choose_rules(AUTO).names
    zone = again.zone(VANCOUVER)
    assert zone is not None
    assert offset_at(zone, DECEMBER) == timedelta(hours=-8)


def test_nothing_is_parsed_to_be_packed():
    rules = choose_rules(PACKAGE)

    packed = rules.archive()

    assert rules.zone.cache_info().misses == 0
    assert from_archive("2099a", packed).names == rules.names


@pytest.mark.parametrize("content", [b"", b"TZif", b"TZif2" + bytes(20), b"a text"])
def test_a_file_that_is_no_whole_zone_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    tree = zone_tree(tmp_path, "2099a", ALWAYS_WEST_8)
    (tree / "Broken").write_bytes(content)
    system(monkeypatch, tree)
    monkeypatch.setattr(rules, "package_directory", lambda: None)

    chosen = choose_rules(AUTO)

    assert chosen.zone("Broken") is None
    assert chosen.names == from_archive("2099a", chosen.archive()).names == [VANCOUVER]


@pytest.mark.parametrize("name", ["Europe", "x" * 3000, "leapseconds", "tzdata.zi", "../UTC"])
def test_what_is_no_zone_is_none_in_any_rules(name: str):
    assert choose_rules(AUTO).zone(name) is None
    with pytest.raises(InvalidInput):
        zone_named(name)
