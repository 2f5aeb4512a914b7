"""Reads YAML with the scalars of its JSON schema (YAML 1.2.2, section 10.2)."""

import json
import re
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Any

import yaml

JSON_TAGS = frozenset({"map", "seq", "str", "null", "bool", "int", "float"})
"""The types that there are; others, such as `!!set`, have no place in JSON."""


class Loader(yaml.SafeLoader):
    """A loader to which neither a time of day, nor a date, nor "no" is anything but text."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        """Read a name as the text that it is written as: JSON has no others, as `true` or 1e3."""
        if not isinstance(node, yaml.MappingNode):
            why = "what is said to be a mapping is none"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark)
        found: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                why = "a name has to be a text"
                raise yaml.constructor.ConstructorError(None, None, why, key.start_mark)
            found[key.value] = self.construct_object(value, deep=deep)
        return found


class Dumper(yaml.SafeDumper):
    """Writes in quotes what the loader, or one of YAML 1.1, would take for something else."""


Loader.yaml_implicit_resolvers = {}
Loader.yaml_constructors = {
    tag: made
    for tag, made in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in JSON_TAGS
}
for tag, pattern, first in (
    ("null", "null|~|", ["n", "~", ""]),
    ("bool", "true|false", ["t", "f"]),
    ("int", "-?(0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    for either in (Loader, Dumper):
        either.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first
        )


def represent_text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    """Write a text; line ends of Unicode are escaped, as PyYAML would fold them."""
    style = None if text.isprintable() or text.isascii() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, represent_text)


class YamlError(ValueError):
    """A text that cannot be read; the message says where."""


class Document:
    """What a file holds, and where in it each field stands."""

    def __init__(self, name: str, value: Any, root: yaml.Node | None) -> None:  # noqa: ANN401
        self.name = name
        self.value = value
        self.root = root

    def __repr__(self) -> str:
        return f"<Document {self.name}>"

    def place(self, steps: Sequence[str | int]) -> tuple[str, int, int]:
        """Return file, line and column of a field, or of what it would stand in."""
        node, mark = self.root, self.root.start_mark if self.root else None
        for step in steps:
            inside = within(node, step)
            if inside is None:
                break
            node, mark = inside
        return (self.name, mark.line + 1, mark.column + 1) if mark else (self.name, 1, 1)

    def has(self, steps: Sequence[str | int]) -> bool:
        """Whether there is such a field."""
        node = self.root
        for step in steps:
            inside = within(node, step)
            if inside is None:
                return False
            node = inside[0]
        return True


def within(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """Return what is below a name or an index, and where it begins."""
    match node, step:
        case yaml.MappingNode(), str():
            for key, value in node.value:
                if key.value == step:
                    return value, key.start_mark
        case yaml.SequenceNode(), int() if step < len(node.value):
            return node.value[step], node.value[step].start_mark
        case _:
            pass
    return None


def written(document: object) -> str:
    """Write a document so that `read` reads the same."""
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def read(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """Read one document.

    Raises:
        ValueError: the text is no YAML; the message says where.
    """
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader, with fewer types
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, KeyError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_document(text: str, name: str) -> Document:
    """Read one document with the places of its fields; JSON is YAML too.

    Raises:
        YamlError: the text is no YAML, has a name twice, or uses an anchor.
    """
    try:
        if "\t" in text:
            with suppress(ValueError):
                json.loads(text)
                text = text.replace("\t", " ")  # which PyYAML does not refuse; no string has one
        loader = Loader(text)
        root = loader.get_single_node()
        check(root, name, set())
        return Document(name, loader.construct_document(root) if root else None, root)
    except YamlError:
        raise
    except RecursionError:
        message = f"{name}: is nested too deeply; a target has 100 levels at most"
        raise YamlError(message) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        why = " ".join(filter(None, (error.context, error.problem)))
        message = f"{name}{place}: is neither YAML nor JSON: {why}"
        raise YamlError(message) from error
    except (yaml.YAMLError, ValueError, KeyError) as error:  # as of `!!int x`
        message = f"{name}: is neither YAML nor JSON: {' '.join(str(error).split())}"
        raise YamlError(message) from error


def check(node: yaml.Node | None, name: str, seen: set[int]) -> None:
    """Refuse a name that stands twice in one mapping, and anchors, which hide what is meant.

    Raises:
        YamlError: saying where.
    """
    if not isinstance(node, yaml.CollectionNode):
        return
    if id(node) in seen:
        mark = node.start_mark
        message = (
            f"{name}:{mark.line + 1}:{mark.column + 1}: has an anchor that is used again: "
            "write it out, or use defaults"
        )
        raise YamlError(message)
    seen.add(id(node))
    keys = set()
    for item in node.value:
        key, value = item if isinstance(item, tuple) else (None, item)
        if key is not None:
            mark = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                message = f"{name}:{mark.line + 1}:{mark.column + 1}: a name has to be a text"
                raise YamlError(message)
            if key.value in keys:
                message = f"{name}:{mark.line + 1}:{mark.column + 1}: {key.value}: is there twice"
                raise YamlError(message)
            keys.add(key.value)
        check(value, name, seen)
