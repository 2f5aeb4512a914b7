"""What is shown of command lines and rows that are left out: without their secrets."""

import re

from app.core.secrets.places import MASK

NAME = r"[\w-]*(?:auth|cookie|credential|key|pass|pwd|secret|session|signature|token)[\w-]*"
VALUE = r"(?:\\?\"[^\"]*\"?|'[^']*'?|[^\s&'\"]+)"
PLACES = (
    re.compile(r"(://[^\s/:@'\"]*:)[^\s'\"]*(?=@)"),
    re.compile(r"(://)[^\s/:@'\"]+(?=@)"),
    re.compile(rf"((?<!\S)--(?:user|proxy-user|oauth2-bearer|{NAME})[ =]+){VALUE}", re.IGNORECASE),
    re.compile(rf"((?<!\S)-[A-WYZa-z]*[ubU]\s*){VALUE}"),  # what follows X is a method, such as PUT
    re.compile(r"((?<!\S)-p)[^\s'\"]+"),
    re.compile(rf"({NAME}\\?['\"]?\s*[:,]\s*)(?:\\?\"[^\"]*\"?|'[^']*'?|[^'\"]+)", re.IGNORECASE),
    re.compile(rf"({NAME}=){VALUE}", re.IGNORECASE),
    re.compile(r"(\b(?:bearer|basic)\s+)[^\s'\"]+", re.IGNORECASE),
)
"""Where people write secrets: what follows the group is one, to the end of the match."""


def shown(text: str) -> str:
    """Return a text with `***` for what looks like a secret, rather too often than too seldom.

    Those are passwords of addresses, values of options such as `--user`, and of headers, variables
    and fields with names that sound secret.
    """
    for place in PLACES:
        text = place.sub(rf"\g<1>{MASK}", text)
    return text
