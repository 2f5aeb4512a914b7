"""An answer is waited for briefly at first, and longer where answers take longer."""

import pytest

from app.db.database import COMMAND_TIMEOUT_SECONDS, Patience


def test_what_does_not_answer_is_given_longer_each_time_up_to_the_usual() -> None:
    patience = Patience(3.0)

    waited = []
    for _ in range(4):
        waited.append(patience.seconds)
        patience.lengthen(patience.seconds)

    assert waited == [3.0, 6.0, 12.0, COMMAND_TIMEOUT_SECONDS]


def test_of_several_that_time_out_together_only_the_longest_counts() -> None:
    patience = Patience(3.0)

    for _ in range(5):
        patience.lengthen(3.0)

    assert patience.seconds == 6.0


@pytest.mark.parametrize(("took", "then"), [(0.01, 3.0), (2.0, 4.0), (14.0, 15.0)])
def test_an_answer_says_how_long_the_next_may_take(took: float, then: float) -> None:
    patience = Patience(3.0)
    patience.lengthen(6.0)

    patience.adjust(within=took)

    assert patience.seconds == then
