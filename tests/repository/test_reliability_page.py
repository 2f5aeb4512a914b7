"""The page on reliability names tests that exist."""

import re

from tests.support.pages import DEFINED, ROOT, named_tests

PAGE = ROOT / "docs" / "reliability.md"


def test_every_test_it_names_exists() -> None:
    named = named_tests(PAGE.read_text("utf-8"))

    assert len(named) > 50
    assert named - DEFINED == set()


def test_every_file_it_names_exists() -> None:
    named = set(
        re.findall(r"`((?:tests|app|benchmarks)/[\w/]+\.(?:py|txt))`", PAGE.read_text("utf-8"))
    )

    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_hazard_has_a_row_with_a_test_or_an_answer() -> None:
    rows = re.findall(r"^\| H(\d+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert [int(number) for number, _ in rows] == list(range(1, 55))
    assert all(re.search(r"`[\w/.]+`|answered", text.rpartition("|")[2] + text) for _, text in rows)


def test_every_kind_of_fault_has_a_row_with_a_test_or_a_measurement() -> None:
    rows = re.findall(r"^\| F(\d+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert [int(number) for number, _ in rows] == list(range(1, 31))
    assert all(re.search(r"`[\w/.]+`", text.rpartition("|")[2]) for _, text in rows)
