"""The page on security names for each threat a test that exists."""

import re

from tests.support.pages import DEFINED, ROOT, named_tests

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
TABLES = re.findall(r"^\| threat \| answer \| test \|\n\|---.*\n((?:\|.*\n?)+)", PAGE, re.MULTILINE)
ROWS = [
    [cell.strip() for cell in row.strip("|").split(" | ")]
    for table in TABLES
    for row in table.splitlines()
]


def test_every_threat_has_an_answer_and_a_test() -> None:
    assert len(TABLES) == 3
    assert len(ROWS) >= 45
    assert [row for row in ROWS if len(row) != 3 or not all(row)] == []
    assert [row[0] for row in ROWS if not named_tests(row[2])] == []


def test_every_test_it_names_exists() -> None:
    named = named_tests(PAGE)
    files = {name for name in named if f"`{name}.py`" in PAGE}

    assert named - files - DEFINED == set()
    assert all(list((ROOT / "tests").rglob(f"{name}.py")) for name in files)
