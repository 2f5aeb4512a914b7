"""Logs, and the interface behind them: code tells typed facts (`app.core.facts`) to observers.

`logs` writes each fact as a line, `lines` writes lines without blocking, and `faults` turns an
unexpected error into a fact. Tests are observers too.
"""

from collections.abc import Callable

from app.core.facts import Fact

Observer = Callable[[Fact], None]


class Observers:
    """Tells each fact to every observer, in order; an observer must neither block nor raise."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def tell(self, fact: Fact) -> None:
        """Call each observer with the fact."""
        for observe in self.observers:
            observe(fact)
