"""What a check is: how long a ping may take. The rules are in `app.core.runs.expectation`."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from app.core.runs.expectation import CHECK
from app.core.runs.outcome import Outcome, Report
from app.targets.base import Context, Options, Shown, Target, Where


class CheckTarget(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ping that is expected at each run of the schedule."""

    grace_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=31_557_600,
            description="How long after its instant, or after it began, a run may take to say that "
            "it ended.",
        ),
    ] = 300.0


class CheckExecutor:
    """Stands for the kind: there is nothing to carry out, as an instance only looks for pings."""

    kind: ClassVar[str] = CHECK
    target_type: ClassVar[type[Target]] = CheckTarget
    where_type: ClassVar[type[Where]] = Where
    shown: ClassVar[Mapping[str, Shown]] = {"grace_seconds": Shown(whole=True)}

    def __init__(self, options: Options) -> None:
        pass

    async def execute(self, target: CheckTarget, context: Context) -> Report:  # noqa: ARG002 - the interface
        """Fail a run that was asked for beside the schedule."""
        return Report(
            outcome=Outcome.FAILED,
            reason="target",
            error="a check only expects pings: run what sends them",
            retryable=False,
        )

    async def prepare(self, target: CheckTarget, context: Context) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
