"""How long a JSON document is as Postgres writes it out, which is what everybody has to read."""

from decimal import Decimal
from typing import Any

from msgspec import json

LONGEST_GROWTH = 64
"""No document is so many times as long there as in the shortest JSON: `1e308,` takes 311 bytes."""
ENCODER = json.Encoder()


def exceeds(document: Any, most: int) -> bool:  # noqa: ANN401 - any JSON
    """Whether a document has more than `most` bytes as Postgres writes it out.

    That is the text of a `jsonb`: numbers without an exponent, a space after each comma and colon.
    Stops at the limit, so the time does not grow with what the numbers would become.
    """
    encoded = len(ENCODER.encode(document))
    if encoded > most or encoded * LONGEST_GROWTH <= most:
        return encoded > most
    left = most
    waiting = [document]
    while waiting and left >= 0:
        one = waiting.pop()
        if isinstance(one, dict):
            left -= 2 * max(len(one), 1)
            left -= sum(len(ENCODER.encode(key)) + 2 for key in one)
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            left -= 2 * max(len(one), 1)
            waiting.extend(one)
        elif isinstance(one, float):
            left -= len(format(Decimal(repr(one + 0.0)), "f"))  # it knows no -0.0
        else:
            left -= len(ENCODER.encode(one))
    return left < 0
