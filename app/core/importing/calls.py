"""Command lines of curl and wget as targets of HTTP jobs."""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, unquote, urlsplit, urlunsplit

from app.core.importing.options import (
    CURL_IGNORED,
    CURL_SHORT,
    CURL_VALUES,
    WGET_IGNORED,
    WGET_SHORT,
    WGET_VALUES,
    read_options,
)
from app.core.importing.programs import QUOTED, NotACall, unwrapped, without_comment
from app.core.importing.result import Secrets

VARIABLE = re.compile(r"(?<!\\)\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)|(?=[{\d$?#@!*-]))")
"""A variable of the crontab, or with neither group what only a shell has for one."""
GLOB = re.compile(r"\{[^{}]*\}|\[[^]:]+-[^]:]+\]")
"""What curl makes several addresses of; the colon is that of an IPv6 address."""
SHELL = re.compile(r"[|&;<>`]|\$\(")
"""What only a shell can do."""
HARMLESS = re.compile(
    r"\s*(?:(?:(?<!\S)[12]|&)?>{1,2}\s*(?:/dev/null|&[12]|[\w./%+-]+\.log)|\|\|\s*true\b)\s*"
)
"""Ends of command lines that only say where output goes."""
SOUNDS_SECRET = re.compile(
    "auth|cookie|credential|key|pass(word|wd|phrase)|secret|session|signature|token", re.IGNORECASE
)

FORM = "application/x-www-form-urlencoded"


def call_of(
    command: str, *, stdin: str | None, variables: Mapping[str, str], secrets: Secrets
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Make a target of a command line; return also fields of its job, and what one has to know.

    Raises:
        NotACall: it does something else, or something that no request can do.
    """
    text = without_comment(command)
    while ends := [m for m in HARMLESS.finditer(text) if m.end() == len(text)]:
        text = text[: ends[0].start()]
    bare = QUOTED.sub("", text)
    if SHELL.search(bare) or re.search(r"\"[^\"]*(?:\$\(|`)", text):
        message = "needs a shell, for what is between or inside its commands"
        if re.search(r"(?:\$\(|`)\s*date\b", text):
            message += "; a date can be a template of the job: see docs/templates.md"
        raise NotACall(message)
    try:
        words = shlex.split(expanded(text, variables))
    except ValueError as error:
        message = f"has quotes that do not end: {error}"
        raise NotACall(message) from None
    words, around = unwrapped(words)
    program = words[0].rpartition("/")[2] if words else ""
    if program not in {"curl", "wget"}:
        message = f"runs {program or 'nothing'}: Tocsin calls services, and runs no programs"
        raise NotACall(message)
    options, urls = (
        read_options(words[1:], CURL_SHORT, CURL_VALUES)
        if program == "curl"
        else read_options(words[1:], WGET_SHORT, WGET_VALUES)
    )
    urls += [one for name, one in options if name == "url"]
    if len(urls) != 1:
        message = f"calls {len(urls)} addresses: write a line for each"
        raise NotACall(message)
    if program == "curl" and GLOB.search(urls[0]) and ("globoff", "") not in options:
        message = "calls the addresses of a pattern: write a line for each, or give curl -g"
        raise NotACall(message)
    call = Call(urls[0], stdin=stdin, secrets=secrets)
    if program == "wget":
        call.follow("")
    for name, value in options:
        call.take(program, name, value)
    return call.target(), around | call.fields, call.notes


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put the variables of the crontab in; what is in single quotes stays.

    Raises:
        NotACall: there is a variable that the crontab does not set, or that no crontab can.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            message = f"needs a shell, for {found.string[found.start() :][:20]}"
            raise NotACall(message)
        if name not in variables:
            message = f"needs the variable {name}, which the crontab does not set"
            raise NotACall(message)
        return variables[name]

    parts = QUOTED.split(text)
    return "".join(one if one.startswith("'") else VARIABLE.sub(value, one) for one in parts)


def checked(url: str) -> str:
    """Return an address that can be taken apart.

    Raises:
        NotACall: it cannot.
    """
    try:
        urlsplit(url)
    except ValueError as error:
        message = f"calls what is no address: {error}"
        raise NotACall(message) from None
    return url


class Call:
    """An HTTP request, put together option by option."""

    def __init__(self, url: str, *, stdin: str | None, secrets: Secrets) -> None:
        self.url = checked(url if "://" in url else f"http://{url}")
        self.stdin = stdin
        self.secrets = secrets
        self.method: str | None = None
        self.headers: dict[str, str] = {}
        self.data: list[str] = []
        self.user: str | None = None
        self.password: str | None = None
        self.bearer: str | None = None
        self.more: dict[str, Any] = {}
        self.as_query = False
        self.is_json = False
        self.fields: dict[str, Any] = {}
        self.notes: list[str] = []

    def __repr__(self) -> str:
        return f"<Call of {self.method or 'a'} request>"

    def take(self, program: str, name: str, value: str) -> None:
        """Take an option of curl or wget.

        Raises:
            NotACall: it does what no request of a job can do.
        """
        meanings, ignored = (
            (CURL_MEANINGS, CURL_IGNORED) if program == "curl" else (WGET_MEANINGS, WGET_IGNORED)
        )
        if name in meanings:
            meanings[name](self, value)
        elif name not in ignored:
            dashes = "--" if len(name) > 1 else "-"
            message = f"has {dashes}{name}, which no request of a job can do"
            raise NotACall(message)

    def set_method(self, value: str) -> None:
        self.method = value.upper()

    def add_data(self, value: str) -> None:
        content = self.content(value)
        if value.startswith("@"):  # of which curl leaves the ends of lines out
            content = content.replace("\r", "").replace("\n", "")
        self.data.append(content)

    def add_binary(self, value: str) -> None:
        self.data.append(self.content(value))

    def add_json(self, value: str) -> None:
        self.is_json = True
        self.add_binary(value)

    def add_raw(self, value: str) -> None:
        self.data.append(value)

    def add_encoded(self, value: str) -> None:
        key, equals, content = value.partition("=")
        if not equals and "@" in value:
            message = f"sends the file {value.partition('@')[2]}, which only its machine has"
            raise NotACall(message)
        encoded = quote_plus(content if equals else value)
        self.data.append(f"{key}={encoded}" if equals and key else encoded)

    def set_credentials(self, value: str) -> None:
        self.user, _, self.password = value.partition(":")

    def set_user(self, value: str) -> None:
        self.user = value

    def set_password(self, value: str) -> None:
        self.password = value

    def set_bearer(self, value: str) -> None:
        self.bearer = value

    def set_agent(self, value: str) -> None:
        self.headers["User-Agent"] = value

    def set_referer(self, value: str) -> None:
        self.headers["Referer"] = value

    def set_head(self, _: str) -> None:
        self.method = "HEAD"

    def set_query(self, _: str) -> None:
        self.as_query = True

    def follow(self, _: str) -> None:
        self.more["follow_redirects"] = True

    def trust(self, _: str) -> None:
        self.more["verify_tls"] = False

    def set_cookie(self, value: str) -> None:
        if "=" not in value:
            message = f"sends the cookies of the file {value}, which only its machine has"
            raise NotACall(message)
        self.headers["Cookie"] = value

    def set_limit(self, value: str) -> None:
        self.number("timeout_seconds", value)

    def set_retries(self, value: str) -> None:
        self.number("max_attempts", value, more=1)

    def set_tries(self, value: str) -> None:
        self.number("max_attempts", value)

    def address(self, value: str) -> None:
        """The address has been read already."""

    def add_header(self, value: str) -> None:
        name, colon, content = value.partition(":")
        if not colon:
            message = f"has the header {value!r}, which has no value"
            raise NotACall(message)
        self.headers[name.strip()] = content.strip()

    def content(self, value: str) -> str:
        """Return what `--data` sends, which may be what stdin has.

        Raises:
            NotACall: it is in a file.
        """
        if not value.startswith("@"):
            return value
        if value == "@-" and self.stdin is not None:
            return self.stdin
        message = f"sends the file {value[1:]}, which only its machine has"
        raise NotACall(message)

    def number(self, name: str, value: str, *, more: int = 0) -> None:
        """Make a field of the job of a number.

        Raises:
            NotACall: it is none.
        """
        try:
            number = float(value) + more
        except ValueError:
            message = f"has {value!r} where a number has to be"
            raise NotACall(message) from None
        self.fields[name] = int(number) if number.is_integer() else number

    def target(self) -> dict[str, Any]:
        """Return the target."""
        headers = dict(self.headers)
        auth = self.auth(headers)
        url = self.in_query() if self.as_query else self.url
        body = "&".join(self.data) if self.data and not self.as_query else None
        if body is not None and self.is_json:
            headers.setdefault("Content-Type", "application/json")
        elif body is not None and not any(one.lower() == "content-type" for one in headers):
            headers["Content-Type"] = FORM
        method = self.method or ("POST" if body is not None else "GET")
        found: dict[str, Any] = {"url": self.without_password(url), "method": method}
        if headers := {name: self.named(name, one) for name, one in headers.items()}:
            found["headers"] = headers
        if body is not None:
            found["body"] = body
        if auth:
            found["auth"] = auth
        return found | self.more

    def auth(self, headers: dict[str, str]) -> dict[str, Any] | None:
        """Return how the request proves itself; a header that does is taken out."""
        given = next((one for one in headers if one.lower() == "authorization"), None)
        if given is not None:
            scheme, _, rest = headers[given].partition(" ")
            if scheme.lower() == "bearer" and rest:
                del headers[given]
                self.bearer = rest
        if self.bearer is not None:
            return {"type": "bearer", "token": self.secret("token", self.bearer)}
        parts = urlsplit(self.url)
        if self.user is None and parts.username:
            self.user, self.password = unquote(parts.username), unquote(parts.password or "")
        if self.user is not None:
            return {
                "type": "basic",
                "username": self.user,
                "password": self.secret("password", self.password or ""),
            }
        return None

    def named(self, name: str, value: str) -> str:
        """Return the value of a header, a reference if it sounds secret."""
        return self.secret(name, value) if SOUNDS_SECRET.search(name) else value

    def secret(self, what: str, value: str) -> str:
        host = urlsplit(self.url).hostname or "target"
        return self.secrets.reference(host, what, value, self.notes)

    def in_query(self) -> str:
        parts = urlsplit(self.url)
        query = "&".join([*filter(None, [parts.query]), *self.data])
        return urlunsplit(parts._replace(query=query))

    def without_password(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is None:
            return url
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


CURL_MEANINGS: Mapping[str, Callable[[Call, str], None]] = {
    "request": Call.set_method,
    "header": Call.add_header,
    "data": Call.add_data,
    "data-ascii": Call.add_data,
    "data-binary": Call.add_binary,
    "data-raw": Call.add_raw,
    "data-urlencode": Call.add_encoded,
    "json": Call.add_json,
    "user": Call.set_credentials,
    "oauth2-bearer": Call.set_bearer,
    "user-agent": Call.set_agent,
    "referer": Call.set_referer,
    "cookie": Call.set_cookie,
    "head": Call.set_head,
    "get": Call.set_query,
    "location": Call.follow,
    "insecure": Call.trust,
    "max-time": Call.set_limit,
    "retry": Call.set_retries,
    "url": Call.address,
}
WGET_MEANINGS: Mapping[str, Callable[[Call, str], None]] = {
    "method": Call.set_method,
    "spider": Call.set_head,
    "header": Call.add_header,
    "post-data": Call.add_raw,
    "body-data": Call.add_raw,
    "user": Call.set_user,
    "http-user": Call.set_user,
    "password": Call.set_password,
    "http-password": Call.set_password,
    "user-agent": Call.set_agent,
    "referer": Call.set_referer,
    "no-check-certificate": Call.trust,
    "timeout": Call.set_limit,
    "tries": Call.set_tries,
}
