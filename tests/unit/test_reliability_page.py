"""The page on reliability names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_test_it_names_exists() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))

    missing = {name for name in named if not re.search(rf"def {name}\(", sources)}

    assert len(named) > 50
    assert missing == set()


def test_every_file_it_names_exists() -> None:
    named = set(
        re.findall(r"`((?:tests|app|benchmarks)/[\w/]+\.(?:py|txt))`", PAGE.read_text("utf-8"))
    )

    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_hazard_has_a_row_with_a_test_or_an_answer() -> None:
    rows = re.findall(r"^\| H(\d+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert [int(number) for number, _ in rows] == list(range(1, 55))
    assert all(re.search(r"`[\w/.]+`|answered", text.rpartition("|")[2] + text) for _, text in rows)
