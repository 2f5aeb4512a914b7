"""Reads YAML with the scalars of its JSON schema (YAML 1.2.2, section 10.2)."""

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """A loader to which neither a time of day, nor a date, nor "no" is anything but text."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", "null|~|", ["n", "~", ""]),
    ("bool", "true|false", ["t", "f"]),
    ("int", "-?(0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def read(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """Read one document.

    Raises:
        ValueError: the text is no YAML; the message says where.
    """
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader, with fewer types
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
