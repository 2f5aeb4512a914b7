"""Which settlements observers are told of, where none takes notice of successes."""

import logging

import pytest

from app.core.facts import Fact, Settled
from app.core.runs.claim import Settlement
from app.core.runs.outcome import Outcome
from app.core.runs.transition import released
from app.scheduler.held_claim import Unsettled
from app.scheduler.settler import Settler
from app.telemetry import Observers
from app.telemetry.logs import severity
from tests.support.claims import closed_now, some_claim

CLAIM = some_claim()


def told(settlement: Settlement, *, tells_successes: bool) -> list[Fact]:
    """Return what observers are told as a claim is closed, which is done with in any case."""
    facts: list[Fact] = []
    done: list[bool] = []
    settler = Settler.__new__(Settler)
    settler.observers = Observers(facts.append, tells_successes=tells_successes)
    settler.close(Unsettled(CLAIM, settlement, lambda: done.append(True)))
    assert done == [True]
    return facts


@pytest.mark.parametrize("outcome", sorted({*Outcome} - {Outcome.LOST, Outcome.MISSED}))
def test_only_what_the_log_has_at_level_debug_is_not_told(outcome: Outcome) -> None:
    settlement = closed_now(CLAIM, outcome)
    [fact] = told(settlement, tells_successes=True)

    assert isinstance(fact, Settled)
    assert fact.outcome is outcome
    if severity(fact) == logging.DEBUG:
        assert told(settlement, tells_successes=False) == []
    else:
        assert told(settlement, tells_successes=False) == [fact]


def test_a_claim_that_is_given_back_is_told_of() -> None:
    [fact] = told(released(CLAIM), tells_successes=False)

    assert isinstance(fact, Settled)
    assert fact.outcome is None
