"""What a head means of which the parser does not take a Content-Length or a name (RFC 9112)."""

import re

HEAD_END = re.compile(rb"\r?\n\r?\n")
SPACED_NAME = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
LENGTH_LINE = re.compile(rb"(?im)^content-length:([^\r\n]*)\r?\n")
MAX_LENGTH_LENGTH = 18
"""The most digits of a length that the parser takes; longer numbers exceed any body."""


def with_one_length(head: bytes, *, bodiless: bool) -> bytes | None:
    """The head with one Content-Length where several agree; None where there is no reading.

    `bodiless`: where there is no body, no length counts and none is kept.
    """
    length = b""
    if not bodiless:
        number = agreed(LENGTH_LINE.findall(head))
        if number is None:
            return None
        length = b"Content-Length: %s\r\n" % number
    return b"%s\r\n%s\r\n" % (LENGTH_LINE.sub(b"", head).rstrip(b"\r\n"), length)


def without_spaces(head: bytes) -> bytes:
    """The head without spaces between a name and its colon (section 5.1 has proxies do so)."""
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
