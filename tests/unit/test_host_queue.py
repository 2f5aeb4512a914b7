"""Hosts take turns among the claims that wait."""

from types import SimpleNamespace
from typing import cast

import pytest

from app.scheduler.held_claim import HeldClaim
from app.scheduler.host_queue import HostQueue


def claim(host: str) -> HeldClaim:
    return cast("HeldClaim", SimpleNamespace(host=host))


def taken(queue: HostQueue) -> list[HeldClaim]:
    return [queue.popleft() for _ in range(len(queue))]


def filled(*claims: HeldClaim) -> HostQueue:
    queue = HostQueue()
    for one in claims:
        queue.append(one)
    return queue


def test_a_host_with_many_claims_lets_each_other_one_have_a_turn() -> None:
    crowd = [claim("crowd") for _ in range(5)]
    one, other = claim("one"), claim("other")

    assert taken(filled(*crowd, one, other)) == [crowd[0], one, other, *crowd[1:]]


def test_what_is_put_first_comes_before_all_turns_in_its_order() -> None:
    first, second, late = claim("a"), claim("a"), claim("b")
    queue = filled(late)

    queue.put_first([first, second])

    assert list(queue) == taken(queue) == [first, second, late]


def test_the_surplus_is_taken_from_the_host_that_has_the_most() -> None:
    crowd = [claim("crowd") for _ in range(3)]
    one = claim("one")
    queue = filled(one, *crowd)

    assert [queue.pop(), queue.pop()] == [crowd[2], crowd[1]]
    assert list(queue) == [one, crowd[0]]


def test_a_claim_that_was_taken_out_has_no_turn() -> None:
    gone, first, stays = claim("a"), claim("a"), claim("b")
    queue = filled(gone, stays)
    queue.put_first([first])

    for one in (gone, first, gone):
        queue.remove(one)

    assert (len(queue), bool(queue), list(queue)) == (1, True, [stays])
    queue.remove(stays)
    assert not queue
    with pytest.raises(IndexError):
        queue.popleft()


def test_an_emptied_queue_is_empty() -> None:
    queue = filled(claim("a"))
    queue.put_first([claim("b")])

    queue.clear()

    assert (len(queue), list(queue)) == (0, [])
