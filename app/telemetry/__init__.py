"""Logs, and the interface behind them: code tells typed facts (`app.core.facts`) to observers.

`logs` writes each fact as a line, `lines` writes lines without blocking, and `faults` turns an
unexpected error into a fact. Tests are observers too.
"""

from collections.abc import Callable
from random import getrandbits

from app.core.facts import Fact
from app.core.net.requesting import NoteRequest
from app.core.runs.claim import Claim

Observer = Callable[[Fact], None]


def new_trace(_: Claim) -> str:
    """Return the header `traceparent` of a trace that begins with the target."""
    # Of either id, all zeros would mean none.
    return f"00-{getrandbits(128) or 1:032x}-{getrandbits(64) or 1:016x}-01"


class Observers:
    """Tells each fact to every observer, in order; an observer must neither block nor raise."""

    def __init__(
        self,
        *observers: Observer,
        traceparent: Callable[[Claim], str] = new_trace,
        note_request: NoteRequest | None = None,
        tells_successes: bool = True,
    ) -> None:
        self.observers = observers
        self.tells_successes = tells_successes
        """Whether any observer takes notice of executions that start and succeed: of these there
        are so many that no fact is made of one in vain."""
        self.note_request = note_request
        """Is told of each HTTP request to a target; None where nobody counts them."""
        self.traceparent = traceparent
        """Names the span of the attempt that a claim is for, as its target is told."""

    def tell(self, fact: Fact) -> None:
        """Call each observer with the fact."""
        for observe in self.observers:
            observe(fact)
