"""Contexts: addresses and keys of APIs, by name, in a file that only its owner may read."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import print_note

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where `tocsin dev` serves."""
OWNER_ONLY = 0o600


class Context:
    """An API that commands may mean."""

    def __init__(
        self, name: str, url: str, key: str | None = None, *, production: bool = False
    ) -> None:
        self.name = name
        self.url = url
        self.key = key
        self.production = production
        """Whether commands that change something ask before."""

    def __repr__(self) -> str:
        return f"<Context {self.name}: {self.url}>"

    def shown(self, *, current: str | None) -> dict[str, Any]:
        """Return what is shown of it, which is not its key."""
        is_current = self.name == current
        fields = {"name": self.name, "url": self.url, "production": self.production}
        return {**fields, "current": is_current}


class Contexts:
    """The contexts in the file, and which of them is the current one."""

    def __init__(self, contexts: dict[str, Context], current: str | None) -> None:
        self.contexts = contexts
        self.current = current

    def __repr__(self) -> str:
        return f"<Contexts {sorted(self.contexts)}, current {self.current}>"

    def named(self, name: str) -> Context:
        """Return a context.

        Raises:
            CommandFailed: there is none of this name.
        """
        if name not in self.contexts:
            there = ", ".join(sorted(self.contexts)) or "none"
            message = f"there is no context {name!r}: there are {there}; `tocsin login` makes one"
            raise CommandFailed(message, exit_code=USAGE)
        return self.contexts[name]


def config_file() -> Path:
    """Return the path of the file, whether or not it is there."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "tocsin" / "config.toml"


def load() -> Contexts:
    """Read the file; there are no contexts without one.

    Raises:
        CommandFailed: the file cannot be read.
    """
    path = config_file()
    try:
        found = read_toml(path.read_text("utf-8"))
        contexts = {
            name: Context(
                name,
                str(one["url"]),
                one.get("key"),
                production=one.get("production") is True,
            )
            for name, one in found.get("contexts", {}).items()
        }
    except FileNotFoundError:
        return Contexts({}, None)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}", exit_code=USAGE) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        message = f"{path} is not what `tocsin login` writes ({error}): mend it, or delete it"
        raise CommandFailed(message, exit_code=USAGE) from error
    return Contexts(contexts, found.get("current"))


def read_toml(text: str) -> dict[str, Any]:
    """Read TOML, whose reader is imported where there is a file.

    Raises:
        ValueError: it is none.
    """
    import tomllib

    return tomllib.loads(text)


def save(kept: Contexts) -> None:
    """Write the file, whole or not at all, such that only its owner may read it.

    Raises:
        CommandFailed: the file cannot be written.
    """
    lines = []
    if kept.current is not None:
        lines.append(f"current = {json.dumps(kept.current)}")
    for one in kept.contexts.values():
        lines += ["", f"[contexts.{json.dumps(one.name)}]", f"url = {json.dumps(one.url)}"]
        if one.key:
            lines.append(f"key = {json.dumps(one.key)}")
        if one.production:
            lines.append("production = true")
    path = config_file()
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.touch(mode=OWNER_ONLY)
        new.write_text("\n".join([*lines, ""]).lstrip("\n"), "utf-8")
        new.replace(path)
    except OSError as error:
        raise CommandFailed(f"{error.filename or path}: {error.strerror}") from error


def chosen(name: str | None, url: str | None) -> Context:
    """Return the API that a command means.

    That is, the first there is: `url`, the context `name`, TOCSIN_URL, the context of
    TOCSIN_CONTEXT, the current one, the API of `tocsin dev`. TOCSIN_API_KEY goes before the key of
    a context.

    Raises:
        CommandFailed: there is no such context.
    """
    key = os.environ.get("TOCSIN_API_KEY") or None
    if url and name:
        message = "--api and --context name two APIs: leave one of them out"
        raise CommandFailed(message, exit_code=USAGE)
    named = name or (None if url else os.environ.get("TOCSIN_CONTEXT") or None)
    address = url or (None if name else os.environ.get("TOCSIN_URL") or None)
    if address:
        return known(address, key)
    kept = load()
    if named or kept.current:
        found = kept.named(named or kept.current or "")
        return Context(found.name, found.url, key or found.key, production=found.production)
    return Context(DEFAULT_URL, DEFAULT_URL, key)


def known(address: str, key: str | None) -> Context:
    """Return an API by its address: one in production, if a context says so of that address."""
    with suppress(CommandFailed):  # the file is not what is meant, so it may be broken
        for one in load().contexts.values():
            if one.production and whole(one.url) == whole(address):
                return Context(one.name, address, key, production=True)
    return Context(address, address, key)


def whole(address: str) -> tuple[object, ...]:
    """Return the parts of an address in one way, however it is written; itself, if it is none."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return (address,)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def confirm(context: Context, what: str, *, yes: bool, always: bool = False) -> None:
    """Ask before something is changed in production, or, with `always`, anywhere.

    With `yes` nothing is asked, and of production it is said on stderr what is meant.

    Raises:
        CommandFailed: the answer is no, or there is no terminal to ask on.
    """
    if not (context.production or always):
        return
    production = f" (production, {context.url})" if context.production else ""
    question = f"{what} at {context.name}{production}"
    if yes:
        if context.production:
            print_note(question)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        message = f"{question}: there is no terminal to ask on; give --yes if that is meant"
        raise CommandFailed(message, exit_code=USAGE)
    import click

    if not click.confirm(f"{question}?", err=True):
        raise CommandFailed("nothing was changed")
