"""No text of strangers breaks a parser or keeps it busy: seeds, regressions, and made-up ones."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput
from tests.fuzz.parsers import PARSERS, SEEDS, most_seconds

CORPUS: dict[str, list[tuple[str, int]]] = json.loads(
    Path(__file__).with_name("corpus.json").read_text("utf-8")
)
"""What fuzzing found, by parser: texts, and how often each is repeated."""
PIECES = sorted(
    {
        "${secret:",
        "/",
        "@",
        ":",
        "[",
        "%",
        "*",
        "H,",
        "0-59,",
        "a.",
        "1h",
        "{",
        "\\",
        "\0",
        "é",
        "=",
    }
)
LONGEST = 250_000

every_parser = pytest.mark.parametrize("name", PARSERS)


def regressions(name: str) -> list[str]:
    """List the texts that once were findings."""
    return [text * times for text, times in CORPUS.get(name, [])]


def tried(name: str, text: str) -> None:
    """Give a text to a parser, which may refuse it and nothing else, soon."""
    seconds = float("inf")
    for _ in range(3):  # the machine may be busy: the shortest counts
        began = time.process_time()
        with suppress(InvalidInput):
            PARSERS[name](text)
        seconds = min(seconds, time.process_time() - began)
        if seconds < most_seconds(name):
            return
    pytest.fail(f"{seconds:.2f} s for {len(text)} characters: {text[:100]!r}")


@every_parser
def test_what_was_found_once_is_not_found_again(name: str) -> None:
    for text in (*SEEDS[name], *regressions(name)):
        tried(name, text)


@every_parser
def test_no_repetition_takes_long(name: str) -> None:
    for piece in PIECES:
        for times in (100, 2000, LONGEST // len(piece)):
            tried(name, piece * times)
            tried(name, f"{SEEDS[name][0]}{piece * times}")


@every_parser
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_text_breaks_it(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]))
    pieces = st.one_of(st.sampled_from(PIECES), st.text(max_size=5), st.sampled_from(seed.split()))
    cut = data.draw(st.integers(0, len(seed)))
    tried(name, seed[:cut] + "".join(data.draw(st.lists(pieces, max_size=6))) + seed[cut:])


def test_every_parser_has_seeds_and_the_corpus_is_theirs() -> None:
    assert SEEDS.keys() == PARSERS.keys()
    assert CORPUS.keys() <= PARSERS.keys()
