"""How long a JSON document is once Postgres writes it out: what every reader of it has to load."""

import re
from decimal import Decimal
from typing import Any

from msgspec import Raw, json

MAX_GROWTH_LENGTH = 64
"""Postgres's text of a document is less than 64 times its shortest JSON: `1e308,` takes 311 bytes.

Postgres writes numbers without exponents.
"""
ENCODER = json.Encoder()
WORDS = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|([0-9][0-9.]*+(?:[eE]([+-]?[0-9]{1,3})(?![0-9]))?+)', re.DOTALL
)
"""Matches a string, which is skipped, or a number. Possessive quantifiers keep matching linear."""
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
EXPONENTS = re.compile(rb"[0-9.]++[eE][+-]?[0-9]++")
NEGATIVE_ZERO = re.compile(rb"-0(?:[.]0++)?+(?![0-9.eE])")


def numbers_exceed(document: bytes, most: int) -> bool:
    """Return whether the numbers of a JSON text exceed `most` bytes, written without exponents.

    Counting stops at the limit.
    """
    if len(document) * MAX_GROWTH_LENGTH <= most:
        return False
    left = most
    for word in WORDS.finditer(document):
        if word[2] is not None:
            left -= len(format(Decimal(word[1].decode()), "f"))
        elif word[1] is not None:
            left -= len(word[1])
        if left < 0:
            return True
    return False


def exceeds(document: Any, most: int) -> bool:  # noqa: ANN401 - any JSON
    """Return whether a document has more than `most` bytes as Postgres writes it out.

    The text of a `jsonb` has numbers without an exponent, and a space after each comma and colon.
    Counting stops at the limit, so that the time does not grow with the numbers. Of a document
    that is not decoded yet (Raw) only the numbers count.
    """
    if isinstance(document, Raw):
        return numbers_exceed(bytes(document), most)
    encoded = ENCODER.encode(document)
    if len(encoded) * MAX_GROWTH_LENGTH <= most:
        return False
    rest = STRINGS.sub(b"", encoded)
    left = most - len(encoded) - rest.count(b",") - rest.count(b":")
    left += len(NEGATIVE_ZERO.findall(rest))  # Postgres knows none
    numbers = EXPONENTS.findall(rest)
    left += sum(map(len, numbers))
    for number in numbers:
        if left < 0:
            break
        left -= len(format(Decimal(number.decode()), "f"))
    return left < 0
