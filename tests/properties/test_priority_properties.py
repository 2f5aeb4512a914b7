"""Slots for any due claims of any priorities."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from app.core.runs.priority import HIGHEST_PRIORITY
from app.scheduler.admission import Slots
from tests.support.claims import DUE
from tests.support.ticks import Ticks
from tests.unit.test_priority import SECOND, due_claims, held, started


@given(
    st.lists(st.tuples(st.integers(0, HIGHEST_PRIORITY), st.integers(0, 300)), max_size=30),
    st.integers(1, 30),
)
def test_slots_go_by_rank(claims: Sequence[tuple[int, int]], size: int) -> None:
    ordered = sorted(claims, key=lambda one: one[1])  # as they come due
    held_claims = [
        held(n, priority=priority, due=DUE + due * SECOND, host=f"{n}.test")
        for n, (priority, due) in enumerate(ordered)
    ]

    found = started(due_claims(Slots(size, Ticks()), *held_claims))

    ranks = [held_claims[n].claim.rank for n in found]
    left = [one.claim.rank for one in held_claims if one.claim.execution_id not in found]
    assert ranks == sorted(ranks)
    assert len(found) == min(size, len(claims))
    assert not left or max(ranks) <= min(left)
