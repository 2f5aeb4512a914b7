"""The edits that break the build on purpose still find what they edit, and who is to notice."""

import pytest

from tests.faults.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_its_edit_finds_its_place(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text("utf-8")

    assert mutant.edit(text) != text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_tests_that_are_to_notice_exist(mutant: Mutant) -> None:
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text("utf-8")


def test_a_text_that_is_not_there_is_an_error() -> None:
    mutant = Mutant(what="x", file="y", before="a  b", after="c", tests=())

    assert mutant.edit("-a\n b-") == "-c-"
    for text in ("", "a b a b"):
        with pytest.raises(AssertionError, match="found"):
            mutant.edit(text)
