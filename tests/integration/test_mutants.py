"""The tests that notice a build that is broken on purpose can be run in any tree."""

from tests.faults.mutants import ROOT, outcome


def test_tests_of_a_tree_can_be_run() -> None:
    here = "tests/repository/test_mutants.py::test_a_text_that_is_not_there_is_an_error"

    assert outcome(ROOT, (here,))
    assert not outcome(ROOT, (f"{here}_at_all",))
