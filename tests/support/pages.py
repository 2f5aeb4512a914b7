"""Finds the tests that pages of the docs name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEFINED = set(
    re.findall(
        r"^ *(?:async )?def (test_\w+)\(",
        "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")),
        re.MULTILINE,
    )
)
"""Every test by its name."""


def named_tests(text: str) -> set[str]:
    """Name the tests that a text names, be there such tests or not."""
    return set(re.findall(r"`(test_\w+)", text))
