"""Corrects heads that the parser refuses though RFC 9112 lets a client read them.

Such heads repeat the same Content-Length, or have spaces between a name and its colon.
"""

import re

HEAD_END = re.compile(rb"\r?\n\r?\n")
SPACED_NAME = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
LENGTH_LINE = re.compile(rb"(?im)^content-length:([^\r\n]*)\r?\n")
MAX_LENGTH_LENGTH = 18
"""The most digits of a length that the parser takes; longer numbers exceed any body."""


def with_one_length(head: bytes, *, bodiless: bool) -> bytes | None:
    """Return the head with one Content-Length in place of several; None if they disagree.

    `bodiless`: the answer has no body, so that no length counts and none is kept.
    """
    length = b""
    if not bodiless:
        number = agreed(LENGTH_LINE.findall(head))
        if number is None:
            return None
        length = b"Content-Length: %s\r\n" % number
    return b"%s\r\n%s\r\n" % (LENGTH_LINE.sub(b"", head).rstrip(b"\r\n"), length)


def without_spaces(head: bytes) -> bytes:
    """Return the head without spaces between a name and its colon, as section 5.1 tells proxies."""
    return SPACED_NAME.sub(rb"\1:", head)


def agreed(values: list[bytes]) -> bytes | None:
    """Return the number that all Content-Length values agree on; None if they do not.

    A value may be a list. A number of over `MAX_LENGTH_LENGTH` digits becomes that many nines.
    """
    said = [one.strip(b" \t") for value in values for one in value.split(b",")]
    if not all(map(bytes.isdigit, said)):
        return None
    numbers = {one.lstrip(b"0") or b"0" for one in said}
    if len(numbers) != 1:
        return None
    number = numbers.pop()
    return number if len(number) <= MAX_LENGTH_LENGTH else b"9" * MAX_LENGTH_LENGTH
