"""The body of a message, which a target gives as text, JSON or base64."""

import binascii
from base64 import b64decode
from collections.abc import Iterable
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from app.core.jobs.json_depth import is_deeper
from app.core.net.headers import MAX_HEADERS, MAX_HEADERS_LENGTH
from app.core.secrets.masking import NAMED_SECRETS
from app.errors import FieldError
from app.targets.base import Target

DEEPEST_JSON = 64
"""The most levels of nested JSON: a value read at one depth of the stack must be writable at any
other."""

Base64 = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]


class BodyTarget(Target, frozen=True, kw_only=True):
    """A target that sends a body, given in at most one of three forms; null counts as absent."""

    body: str | None = None
    """A text, sent in UTF-8."""
    json: Any = None
    """A value, sent as JSON."""
    body_base64: Base64 | None = None
    """Bytes in base64, sent decoded."""
    json_secrets: Annotated[dict[str, str], NAMED_SECRETS] | None = None
    """Texts that `json`, an object, is given as well: `{"routing_key": "${secret:NAME}"}`."""

    @property
    def has_body(self) -> bool:
        """Whether any field of the body is given."""
        return (
            self.json is not None
            or self.body is not None
            or self.body_base64 is not None
            or self.json_secrets is not None
        )

    def errors(self) -> Iterable[FieldError]:
        if self.json_secrets is not None and not isinstance(self.json, dict):
            message = "is added to an object: give json as one, or leave this out"
            yield FieldError(field="json_secrets", message=message)
            return
        if self.json_secrets is not None and (problem := too_much(self.json_secrets)):
            yield FieldError(field="json_secrets", message=problem)
            return
        if self.body is None and self.json is None and self.body_base64 is None:
            return
        forms = ("body", "json", "body_base64")
        given = [name for name in forms if getattr(self, name) is not None]
        if len(given) > 1:
            yield FieldError(
                field=given[-1], message=f"leave out all but one of {', '.join(given)}"
            )
        try:
            content, _ = self.content()
            if self.json_secrets is not None:
                content = msgspec.json.encode(self.json)
            is_too_deep = self.json is not None and is_deeper(content, than=DEEPEST_JSON)
        except ValueError as error:
            yield FieldError(field=given[-1], message=f"cannot be sent: {error}")
            return
        except RecursionError:
            is_too_deep = True
        if is_too_deep:
            yield FieldError(field="json", message=f"is nested more than {DEEPEST_JSON} deep")

    def content(self) -> tuple[bytes, str | None]:
        """Return the bytes to send and their content type, which is None without a body."""
        if self.json is not None:
            whole = self.json
            if self.json_secrets is not None:
                if isinstance(whole, Raw):
                    whole = msgspec.json.decode(whole, type=dict[str, Raw])
                whole = whole | self.json_secrets
            return msgspec.json.encode(whole), "application/json"
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        if self.body_base64 is not None:
            return from_base64(self.body_base64), "application/octet-stream"
        return b"", None

    def packed(self) -> Self:
        """Return the target with `json` as text; its secrets stay apart, where they are hidden.

        Of 140 KB that are brackets the lists and objects take 6 MB, and a collection of garbage
        that meets those of a hundred such targets takes half a second.
        """
        if self.json is None:
            return self
        return replace(self, json=Raw(msgspec.json.encode(self.json)))


def too_much(secrets: dict[str, str]) -> str | None:
    """Say why there are too many texts, or too long ones: each is looked for in answers."""
    if len(secrets) > MAX_HEADERS:
        return f"may have at most {MAX_HEADERS} entries"
    if sum(map(len, secrets)) + sum(map(len, secrets.values())) > MAX_HEADERS_LENGTH:
        return f"may have at most {MAX_HEADERS_LENGTH} characters in all"
    return None


def from_base64(text: str) -> bytes:
    """Decode base64 strictly: no character is skipped.

    Raises:
        ValueError: the text is not base64.
    """
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64 ({error})") from None
