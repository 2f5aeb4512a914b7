"""JSON compared and carried on as it is stored: 0 is not false, 1 is not 1.0, no digit is lost."""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

INFINITE = float("inf")
EXACT_DIGITS = 15
"""A float holds any so many digits, and writes them back as they were: C's `DBL_DIG`."""
SMALLEST_EXACT = 1e-300
"""Below, some digits before the end of their range, floats have fewer."""


def number(text: str) -> float | Raw:
    """Read a number with a fraction or an exponent; Raw, its very text, where a float would round.

    For `float_hook` of a decoder: any encoder writes a Raw as it is.

    Raises:
        ValueError: it is beyond what a float can hold, or would become zero.
    """
    value = float(text)
    # Nearly all of them, at a fifth of the price: a body may have a hundred thousand.
    if len(text) <= EXACT_DIGITS and SMALLEST_EXACT < abs(value) < INFINITE:
        return value
    if value == 0 and not text.strip("-0."):
        return value
    if value in (INFINITE, -INFINITE) or (value == 0 and Decimal(text) != 0):
        message = "the number is out of range: write it as a string"
        raise ValueError(message)
    return value if Decimal(text) == Decimal(repr(value)) else Raw(text.encode())


DECODER = msgspec.json.Decoder(float_hook=number)
"""For JSON of any type."""


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON, or any value of a Struct's field
    """Whether two values are stored as the same JSON, which keeps no order of names."""
    return bool(form(one) == form(other))


def form(value: object) -> object:
    """Return what is equal for values that Postgres stores alike, and for no others."""
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
    """Write a number as jsonb does: without exponent, with its zeros, and no zero is negative."""
    written = format(Decimal(text), "f")
    return written.removeprefix("-") if Decimal(text) == 0 else written


def as_text(value: object) -> str:
    """Show a Raw number; for `enc_hook` where there is no JSON to write it into.

    Raises:
        NotImplementedError: it is anything else.
    """
    if isinstance(value, Raw):
        return bytes(value).decode()
    raise NotImplementedError
