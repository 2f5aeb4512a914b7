"""Masks the password in the address of a database, even if the address is malformed."""

import re

from app.dsn.parameters import HONOURED

PUBLIC = HONOURED - {"password", "sslpassword"}
HIDDEN = "***"

SCHEME = re.compile(r"\s*['\"]?(?:jdbc:)?(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
PAIRS = re.compile(r"\s*[A-Za-z_]+\s*=.*", re.DOTALL)
PAIR = re.compile(r"([A-Za-z_]+)(\s*=\s*)([\w./:,*@+-]*)(?=[\s&]|\Z)([\s&]*)", re.ASCII)
HOST = r"(?:[\w.*-]*|\[[0-9A-Fa-f:.%\w]*\])(?::[0-9]{1,5})?"
PLACES = re.compile(rf"{HOST}(?:,{HOST})*(?:/[^?#:@]*)?", re.ASCII)
"""The hosts and the database of a well-formed URL."""


def masked(text: str) -> str:
    """Return an address that may be printed: with `***` for each part that can be a password.

    People write passwords in the wrong place, unescaped, or under a misspelt parameter. So only
    parts that cannot be a password are shown.
    """
    if PAIRS.fullmatch(text):
        return masked_pairs(text)
    match = SCHEME.match(text)
    scheme = match[0] if match else ""
    rest, asked, query = text[len(scheme) :].partition("?")
    if "@" in query:  # the ? may be part of a password, which ends at the @
        rest, asked, query = text[len(scheme) :], "", ""
    credentials, found, places = rest.rpartition("@")
    user, has_password, _ = credentials.partition(":")
    if not PLACES.fullmatch(places) or not (scheme or found):
        places = HIDDEN
    if credentials and not has_password and "postgres" not in scheme:
        user = HIDDEN
    userinfo = f"{user}{f':{HIDDEN}' if has_password else ''}{found}"
    return f"{scheme}{userinfo}{places}{asked}{masked_pairs(query)}"


def masked_pairs(text: str) -> str:
    """Return pairs of key and value up to the first that can have a secret, then `***`."""
    shown, position = "", 0
    while match := PAIR.match(text, position):
        name, equals, value, after = match.groups()
        if name not in PUBLIC:
            break
        shown += f"{name}{equals}{value}{after}"
        position = match.end()
    if not (rest := text[position:]):
        return shown
    name = re.match(r"\w*pass\w*\s*=|", rest)
    return f"{shown}{name[0] if name else ''}{HIDDEN}"
