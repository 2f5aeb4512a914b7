"""YAML as files with jobs have it: what JSON can say, and nothing else."""

import pytest

from app.cli.remote.yaml_reader import YamlError, read, read_document


def test_names_are_the_texts_that_they_are_written_as() -> None:
    text = "jobs:\n  1e3: {a: 1e3}\n  true: {}\n  null: {}\n  0x1f: {on: true}\n"

    expected = {"jobs": {"1e3": {"a": 1000.0}, "true": {}, "null": {}, "0x1f": {"on": True}}}

    assert read_document(text, "f.yaml").value == expected
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a: !!set {b}", "a: !!timestamp 2030-01-01", "a: !!binary aGk=", "a: !!int x", "a: !!bool x",
     "a: !!map [1]", "? [1]\n: 2", 'a: "\x07"'],
)  # fmt: skip
def test_what_json_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match=r"f\.yaml"):
        read_document(text, "f.yaml")
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever message
        read(text)


def test_json_is_read_however_it_is_indented() -> None:
    document = read_document('{\n\t"set":\t"s",\n\t"jobs": {"a\\tb": {}}\n}\n', "f.json")

    assert document.value == {"set": "s", "jobs": {"a\tb": {}}}
    assert document.place(["jobs", "a\tb"]) == ("f.json", 3, 11)


@pytest.mark.parametrize("text", ["[" * 500, '{"a":\t' * 5000, "- " * 500])
def test_what_is_nested_without_end_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(YamlError, match=r"^f\.yaml: is nested too deeply"):
        read_document(text, "f.yaml")
    if "\t" not in text:
        with pytest.raises(ValueError, match="nested too deeply"):
            read(text)
