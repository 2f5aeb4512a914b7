"""A client of the API for commands: the standard library's, which starts fast."""

import json
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from app.cli.remote.errors import FAILED, UNREACHABLE, USAGE, CommandFailed

TIMEOUT_SECONDS = 30.0
PAGE = 200
"""Items that one request asks for: the most that the API gives."""
LOCAL = ("localhost", "127.0.0.1", "::1")


class Api:
    """One API, on one connection.

    Raises:
        CommandFailed: the address is none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
            message = (
                f"{url!r} is no address of an API: write one such as https://tocsin.example.com"
            )
            raise CommandFailed(message, exit_code=USAGE)
        if parts.username is not None:
            message = "the address must not have a user or password: give a key by TOCSIN_API_KEY"
            raise CommandFailed(message, exit_code=USAGE)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.url = url.rstrip("/")
        self.root = parts.path.rstrip("/")
        self.connection = kind(parts.hostname, port, timeout=TIMEOUT_SECONDS)
        self.headers = {"Accept": "application/json", "User-Agent": "tocsin"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.is_exposed = bool(key) and parts.scheme == "http" and parts.hostname not in LOCAL
        """Whether the key goes over a network unencrypted."""
        self.more_follow = False
        """Whether the list that was read last has more items than were asked for."""

    def __repr__(self) -> str:
        return f"<Api at {self.url}>"

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - what the API answers
        """Make a request, and return what the API answered, decoded; None for no content.

        `query`: lists become several parameters of the same name; None and empty ones are left out.

        Raises:
            CommandFailed: the API refused, or did not answer.
        """
        return self.send(method, path, query=query, body=body, headers=headers)[0]

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, Message]:
        """As `call`, with the headers of the answer beside it."""
        pairs = {name: one for name, one in (query or {}).items() if one not in (None, [], ())}
        written = {
            name: str(one).lower() if isinstance(one, bool) else one for name, one in pairs.items()
        }
        place = self.root + path + (f"?{urlencode(written, doseq=True)}" if written else "")
        sent = dict(self.headers) | dict(headers or {})
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            self.connection.request(method, place, body=content, headers=sent)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException, UnicodeError) as error:
            self.connection.close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            message = (
                f"{self.url} does not answer: {why}: see that the API runs there, or name another "
                "by --api, TOCSIN_URL or `tocsin login`"
            )
            raise CommandFailed(message, exit_code=UNREACHABLE) from error
        found = self.decoded(answer.status, text)
        if answer.status >= 300:  # noqa: PLR2004 - redirections, too: the API has none
            raise CommandFailed.answered(answer.status, found)
        return found, answer.headers

    def decoded(self, status: int, text: bytes) -> Any:  # noqa: ANN401
        """Decode the body of an answer.

        Raises:
            CommandFailed: something else than Tocsin's API answered.
        """
        if not text:
            return {} if status >= 300 else None  # noqa: PLR2004
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if found is None or (status >= 300 and not isinstance(found, dict)):  # noqa: PLR2004
            message = f"{self.url} answers {status}, but not as the API of Tocsin does"
            raise CommandFailed(message, exit_code=UNREACHABLE if status >= 500 else FAILED)  # noqa: PLR2004
        return found

    def pages(
        self, path: str, *, query: Mapping[str, object] | None = None, limit: int | None
    ) -> Iterator[Any]:
        """Yield the items of a list, at most `limit`; None: all of them.

        Afterwards `more_follow` says whether the limit cut it off.
        """
        left = limit
        cursor = None
        while left is None or left > 0:
            asked = {**(query or {}), "cursor": cursor}
            page = self.call(
                "GET", path, query={**asked, "limit": PAGE if left is None else min(left, PAGE)}
            )
            yield from page["items"]
            if left is not None:
                left -= len(page["items"])
            cursor = page.get("next_cursor")
            self.more_follow = cursor is not None
            if cursor is None:
                return


def address(collection: str, name: str, *more: str) -> str:
    """Return the address of what is called so in a collection, or of a call below it.

    Raises:
        CommandFailed: nothing can be called so.
    """
    if not name or "/" in name:
        message = f"{name!r} is no name: a name has at least one character, and no slash"
        raise CommandFailed(message, exit_code=USAGE)
    return "/".join(["/v1", collection, quote(name, safe=""), *more])


def job_path(job: str, *more: str) -> str:
    """Return the address of a job, by its id or its name."""
    return address("jobs", job, *more)
