"""JSON values without loss: 0 is not false, 1 is not 1.0, and no digit of a number is lost."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

INFINITE = float("inf")
EXACT_DIGITS = 15
"""A float keeps any number of up to 15 decimal digits exactly: C's `DBL_DIG`."""
EXPONENT = frozenset("eE")
SMALLEST_EXACT = 1e-300
"""Near the end of their range (below about 1e-307) floats keep fewer digits."""


def number(text: str) -> float | Raw:
    """Read a number with a fraction or an exponent, as a Raw of its text if a float would round it.

    To be used as the `float_hook` of a decoder; encoders write a Raw as it is.

    Raises:
        ValueError: the number is larger than any float, or so small that a float would be zero.
    """
    value = float(text)
    # The short way, right for nearly all numbers, in a fifth of the time: a body may have 100,000.
    if len(text) <= EXACT_DIGITS and SMALLEST_EXACT < abs(value) < INFINITE:
        return value
    if value == 0 and not text.strip("-0."):
        return value
    if value in (INFINITE, -INFINITE) or (value == 0 and Decimal(text) != 0):
        message = "the number is out of range: write it as a string"
        raise ValueError(message)
    written = repr(value)
    if "." in text and not EXPONENT.intersection(text) and "e" not in written:
        is_exact = text.rstrip("0") == written.rstrip("0")  # both end in their fraction
    else:
        is_exact = Decimal(text) == Decimal(written)
    return value if is_exact else Raw(text.encode())


DECODER = msgspec.json.Decoder(float_hook=number)
"""Decodes JSON of any type without loss."""


SCALARS = frozenset({str, int, float, bool, datetime})
"""Types of which two values are stored alike if, and only if, they are equal."""


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON, or any value of a Struct's field
    """Return whether Postgres stores two values as the same JSON; the order of names is ignored."""
    if one is other:
        return True
    if type(one) is type(other):  # in a tenth of the time: a batch compares hundred thousands
        match one:
            case dict():
                return one.keys() == other.keys() and all(
                    same(item, other[name]) for name, item in one.items()
                )
            case list() | tuple():
                return len(one) == len(other) and all(map(same, one, other))
            case _ if type(one) in SCALARS:
                return bool(one == other)
            case _:
                pass
    return bool(form(one) == form(other))


def form(value: object) -> object:
    """Return a form of a value that is equal for two values only if Postgres stores them alike."""
    match value:
        case dict():
            return {name: form(item) for name, item in value.items()}
        case list() | tuple():
            return [form(item) for item in value]
        case bool():
            return (bool, value)
        case int() | float() | Raw():
            text = as_text(value) if isinstance(value, Raw) else repr(value)
            return (Decimal, digits(text))
        case _:
            return value


def digits(text: str) -> str:
    """Write a number as `jsonb` does: without exponent, with trailing zeros, and without -0."""
    written = format(Decimal(text), "f")
    return written.removeprefix("-") if Decimal(text) == 0 else written


def as_text(value: object) -> str:
    """Return the text of a Raw number: an `enc_hook` for `msgspec.to_builtins`.

    Raises:
        NotImplementedError: the value is no Raw.
    """
    if isinstance(value, Raw):
        return bytes(value).decode()
    raise NotImplementedError
