"""The one seam for logs, metrics and tests: logic states facts, observers use them."""

from collections.abc import Callable

from app.core.facts import Fact

Observer = Callable[[Fact], None]


class Observers:
    """Tells each fact to every observer, in order. An observer must be quick and must not raise."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def tell(self, fact: Fact) -> None:
        """Pass the fact on."""
        for observe in self.observers:
            observe(fact)
