"""What a ping says, as its address has it; and the form of the tokens in such addresses."""

import re
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct

TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""The tokens that `tocsin.check_token` makes."""
EXIT_CODE = re.compile(r"[0-9]{1,3}", re.ASCII)
MAX_EXIT_CODE = 255
MAX_BODY_BYTES = 8000
"""How much of the body of a ping is kept."""


class Action(StrEnum):
    """What a ping says of the run that it is about."""

    START = "start"
    """The run begins."""
    SUCCESS = "success"
    FAIL = "fail"
    LOG = "log"
    """Nothing but what is in the body, which is kept for the end of the run."""


class Ping(Struct, frozen=True, kw_only=True):
    """What a ping says."""

    action: Action
    exit_code: int | None = None
    """The exit code of what has ended; None if the address has none."""


def read_ping(word: str) -> Ping | None:
    """Read the part of the address behind the token: empty for a success; None: no such ping."""
    if EXIT_CODE.fullmatch(word) and int(word) <= MAX_EXIT_CODE:
        code = int(word)
        return Ping(action=Action.FAIL if code else Action.SUCCESS, exit_code=code)
    if word in ("", Action.START, Action.FAIL, Action.LOG):
        return Ping(action=Action(word or Action.SUCCESS))
    return None


def digest_of(token: str) -> bytes | None:
    """Return the digest that is stored of a token; None for a text that can be none."""
    return sha256(token.encode()).digest() if TOKEN.fullmatch(token) else None


def as_text(body: bytes) -> str:
    """Return the beginning of a body as text that Postgres can store."""
    text = body[:MAX_BODY_BYTES].decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
