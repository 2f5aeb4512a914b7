"""Any text is told why it is no instant, and each path of a field is read in one way."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from app.core.field_paths import joined
from app.core.instants import misread_instant


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.Z+-]*", fullmatch=True))
def test_any_text_is_told_why_in_a_line_of_bounded_length(text: str) -> None:
    assert 20 < len(misread_instant(text)) < 300


STEPS = st.lists(
    st.integers(0, 99) | st.text(st.sampled_from('ab.[]"$0\\'), max_size=4), min_size=1, max_size=4
)


def read_path(path: str) -> list[str | int]:
    """Read a path as a stranger would who knows the rule of docs/api.md."""
    steps: list[str | int] = []
    while path:
        if path.startswith("["):
            value, end = json.JSONDecoder().raw_decode(path[1:])
            steps.append(value)
            path = path[1:][end:].removeprefix("]")
        else:
            name = re.match(r"[^.\[]+", path.removeprefix("."))
            assert name, path
            steps.append(name[0])
            path = path.removeprefix(".")[len(name[0]) :]
    return steps


@given(STEPS)
def test_a_path_is_read_in_one_way(steps: list[str | int]) -> None:
    assert read_path(joined("", *steps)) == steps
