"""An instance with the observers that its ports for probes and Prometheus need."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import Settings
from app.scheduler.instance import Instance
from app.telemetry import Observer, Observers
from app.telemetry.counts import Counts
from app.telemetry.logs import log_fact
from app.telemetry.readiness import Readiness


@asynccontextmanager
async def monitored(settings: Settings) -> AsyncIterator[Instance]:
    """Make an instance, and answer on its ports until the body ends.

    What no port shows is not observed, and costs the instance nothing.

    Raises:
        PortTaken: another program listens on one of the ports.
    """
    counts, readiness = Counts(), Readiness()
    observers: list[Observer] = [log_fact]
    if settings.metrics_port:
        observers.append(counts)
    if settings.health_port:
        observers.append(readiness)
    instance = Instance(settings, Observers(*observers))
    if not settings.metrics_port and not settings.health_port:
        yield instance
        return
    from app.cli.ports import answering  # noqa: PLC0415 - with the web framework, which others lack

    async with answering(settings, instance, counts, readiness):
        yield instance
