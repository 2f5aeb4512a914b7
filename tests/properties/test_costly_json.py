"""How deeply a JSON text is nested, told by its brackets, and which numbers a float keeps."""

from decimal import Decimal

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from app.core.jobs.exact_json import number
from app.core.jobs.json_depth import PEELED, is_deeper

ODD = st.text(alphabet='[]{}"\\\n,: a\u00e9\0', max_size=6)
"""Texts of all that a count of brackets could mistake."""
VALUES = st.recursive(
    st.none() | st.integers() | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD, inner, max_size=4),
    max_leaves=40,
)


def depth_of(value: object) -> int:
    """Return how many levels of arrays and objects a value has, found by walking over it."""
    match value:
        case dict():
            return 1 + max(map(depth_of, value.values()), default=0)
        case list():
            return 1 + max(map(depth_of, value), default=0)
        case _:
            return 0


@given(VALUES, st.integers(PEELED, 12), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
@example(["[" * 90], PEELED, 0)
@example({'\\"': '["', '"]': ["\\"]}, PEELED, PEELED)
@example(["[", [], '"]', "a", "b", "]"], PEELED, 10)
def test_a_value_is_as_deep_as_a_walk_over_it_finds(value: object, than: int, around: int) -> None:
    for _ in range(around):
        value = [[], value, {"}": []}]

    assert is_deeper(msgspec.json.encode(value), than=than) is (depth_of(value) > than)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,22})[.][0-9]{1,24}", fullmatch=True))
@example("1.000000000000000000")
@example("100000000000000000000.0")
@example("0.1000000000000000055511151231257827")
@example("123456789012345678.0")
def test_a_number_is_a_float_only_if_no_digit_is_lost(text: str) -> None:
    value = number(text)

    exact = Decimal(repr(float(text))) == Decimal(text)
    assert value == (float(text) if exact else Raw(text.encode()))
    assert isinstance(value, float) is exact
