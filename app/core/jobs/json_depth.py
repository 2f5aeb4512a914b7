"""How deeply arrays and objects are nested in the text of a JSON value."""

from array import array
from itertools import accumulate

AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
ALL_ELSE = bytes(set(range(256)) - set(b'[]{}"'))
STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""Reads brackets as signed bytes: 1 level deeper, 1 level less deep."""
PEELED = 3
"""How many levels are taken off at once, from within, before the rest is counted: most values have
no more, and to count takes ten times as long."""


def is_deeper(text: bytes, *, than: int) -> bool:
    """Return whether arrays and objects are nested more than `than` levels, at least `PEELED`.

    `text`: valid JSON, as an encoder writes it. All is done in C, as a body may have 50,000 values.
    """
    if text.count(b"[") + text.count(b"{") <= than:
        return False
    if b"\\" in text:
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # Where nothing is left between two strings, they become one, which changes no level.
    left = text.translate(AS_ARRAYS, ALL_ELSE).replace(b'""', b"")
    if b'"' in left:  # there are brackets in texts
        left = b"".join(left.split(b'"')[::2])
    for _ in range(PEELED):
        left = left.replace(b"[]", b"")
    levels = accumulate(array("b", left.translate(STEPS)))
    return max(levels, default=0) > than - PEELED
