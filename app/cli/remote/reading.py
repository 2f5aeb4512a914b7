"""What people hand over in files: jobs and parts of them, in JSON or YAML."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.cli.remote.errors import USAGE, CommandFailed


def read_document(path: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a document from a file, or from stdin if it is called `-`.

    Raises:
        CommandFailed: the file cannot be read.
    """
    return parsed(read_text(path), path)


def read_text(path: str) -> str:
    """Read a file, or stdin if it is called `-`.

    Raises:
        CommandFailed: the file cannot be read, or is no text.
    """
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}", exit_code=USAGE) from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is not UTF-8 text: {error}", exit_code=USAGE) from error


def read_fields(
    path: str | None, given: dict[str, Any], more: Sequence[str] = (), *, text: str | None = None
) -> dict[str, Any]:
    """Put together the fields of a file, those of options that are given, and those of `--set`.

    `text`: what the file holds, where it was read already.

    Raises:
        CommandFailed: the file has no fields.
    """
    document = parsed(read_text(path) if text is None else text, path) if path else {}
    if not isinstance(document, dict):
        message = f"{path} has no fields: write them in JSON or YAML, such as `name: nightly`"
        raise CommandFailed(message, exit_code=USAGE)
    document |= {name: one for name, one in given.items() if is_given(one)}
    return merged(document, fields_set(tuple(more)))


def is_given(value: object) -> bool:
    """Whether an option was given; 0 is a value like others."""
    return value is not None and value is not False and value not in ("", (), [])


def parsed(text: str, name: str) -> Any:  # noqa: ANN401
    """Read a document that is JSON or YAML; `name` says where it is from.

    Only what JSON has is read as something else than text: neither a time of day nor "no" nor a
    date is, unlike in YAML 1.1.

    Raises:
        CommandFailed: the text is neither.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    from app.cli.remote import yaml_reader

    try:
        return yaml_reader.read(text)
    except ValueError as error:
        message = f"{name} is neither JSON nor YAML: {error}"
        raise CommandFailed(message, exit_code=USAGE) from error


def fields_set(given: tuple[str, ...]) -> dict[str, Any]:
    """Read `--set a.b=value`: the value is JSON, or else text; null takes a field away.

    Raises:
        CommandFailed: there is no equals sign.
    """
    document: dict[str, Any] = {}
    for one in given:
        path, equals, value = one.partition("=")
        if not equals or not path:
            message = f"--set {one}: write FIELD=VALUE, such as timeout_seconds=60"
            raise CommandFailed(message, exit_code=USAGE)
        inside = document
        *outer, last = path.split(".")
        for name in outer:
            inside = inside.setdefault(name, {})
            if not isinstance(inside, dict):
                message = f"--set {one}: {name} has got a value already"
                raise CommandFailed(message, exit_code=USAGE)
        try:
            inside[last] = json.loads(value)
        except ValueError:
            inside[last] = value
    return document


def merged(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Merge a patch into a document (RFC 7396)."""
    result = dict(document)
    for name, one in patch.items():
        if one is None:
            result.pop(name, None)
        elif isinstance(one, dict):
            inside = result.get(name)
            result[name] = merged(inside if isinstance(inside, dict) else {}, one)
        else:
            result[name] = one
    return result


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes a document into another."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, one in after.items():
        was = before.get(name)
        if isinstance(was, dict) and isinstance(one, dict):
            inside = changes(was, one)
            if inside:
                patch[name] = inside
        elif name not in before or type(was) is not type(one) or was != one:
            patch[name] = one
    return patch


def body_of(text: str) -> Any:  # noqa: ANN401
    """Read the value of `--body`, which is JSON or YAML.

    Raises:
        CommandFailed: it is neither.
    """
    try:
        return parsed(text, "--body")
    except CommandFailed as error:
        message = """--body is no JSON: write it such as '{"user": 7}', in single quotes"""
        raise CommandFailed(message, exit_code=USAGE) from error


def header(one: str) -> tuple[str, str]:
    """Read a header as curl takes it.

    Raises:
        CommandFailed: it has no colon.
    """
    name, colon, value = one.partition(":")
    if not colon:
        raise CommandFailed(f"--header {one}: write 'NAME: VALUE'", exit_code=USAGE)
    return name.strip(), value.strip()
