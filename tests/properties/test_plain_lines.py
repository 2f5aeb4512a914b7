"""Whatever line is read without click is read as click reads it."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from app.cli.plain import READS, parameters
from tests.support.reads import command_of, parsed

COMMANDS = json.loads(Path(READS).read_text("ascii"))
VALUES = (
    *(
        "nightly",
        "7",
        "0",
        "-1",
        "",
        "-",
        "--",
        "1.5",
        "+3",
        "a=b",
        "ü",
        "Ⅶ",
        "1_0",
        " 7",
        "9" * 30,
    ),
    *("failed", "FAILED", "json", "id,name", "-ojson", "-o=json", "--no-such", "--out=json", "-h"),
)


@some.composite
def lines(draw: some.DrawFn) -> tuple[str, list[str]]:
    """Draw a command, and words of which most are options or values of it."""
    name = draw(some.sampled_from(sorted(COMMANDS)))
    options = list(COMMANDS[name]["options"])
    word = some.one_of(
        some.sampled_from(options),
        some.sampled_from(VALUES),
        some.builds("{}={}".format, some.sampled_from(options), some.sampled_from(VALUES)),
    )
    return name, draw(some.lists(word, max_size=5))


@given(lines())
def test_a_line_is_read_as_click_reads_it_or_left_to_click(line: tuple[str, list[str]]) -> None:
    name, words = line

    read = parameters(COMMANDS[name], words)

    assert read is None or read == parsed(command_of(name), words)
