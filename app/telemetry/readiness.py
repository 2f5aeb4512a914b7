"""Whether an instance is ready: an observer of the facts about its session."""

from app.core.facts import Connected, Disconnected, Draining, Fact


class Readiness:
    """Follows the session of an instance; `because` says why the instance is not ready."""

    def __init__(self) -> None:
        self.because: str | None = "the instance has yet to look for due jobs"
        """Why the instance is not ready; None while it is."""

    def __repr__(self) -> str:
        return f"<Readiness: {self.because or 'ready'}>"

    def __call__(self, fact: Fact) -> None:
        """Observe a fact."""
        if type(fact) is Connected:
            self.because = None
        elif type(fact) is Disconnected:
            self.because = "the instance has no session with its database; its log says why"
        elif type(fact) is Draining:
            self.because = "the instance is stopping, and claims no more jobs"
