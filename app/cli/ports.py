"""The web server of the ports on which an instance answers probes and Prometheus.

Imported only where there are such ports: an instance without them carries no web framework.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry

from app.api.headers import secure
from app.api.health import live
from app.api.metrics import metrics_response
from app.cli.listening import Server, listening_socket, make_server
from app.config import PREFIX, Settings
from app.scheduler.instance import Instance
from app.telemetry.counts import Counts
from app.telemetry.exposition import Levels, instance_registry
from app.telemetry.readiness import Readiness
from app.telemetry.version import product_version
from app.wire.health import Health

PORTS = f"{PREFIX}METRICS_PORT or {PREFIX}HEALTH_PORT"


@asynccontextmanager
async def answering(
    settings: Settings,
    instance: Instance,
    counts: Counts,
    readiness: Readiness,
    *,
    traced: bool,
) -> AsyncIterator[None]:
    """Answer on the ports of an instance until the body ends.

    With `traced` exemplars name the trace of their execution.

    Raises:
        PortTaken: another program listens on one of the ports.
    """
    registry = instance_registry(
        product_version(), counts, partial(levels_of, instance), traced=traced
    )
    routes: dict[int, list[HTTPRouteHandler]] = defaultdict(list)
    routes[settings.metrics_port].append(show_metrics(registry))
    routes[settings.health_port] += [live, show_readiness(readiness)]
    routes.pop(0, None)
    async with AsyncExitStack() as stack:
        for port, handlers in routes.items():
            sock = stack.enter_context(listening_socket(settings.host, port, setting=PORTS))
            app = Litestar(
                route_handlers=handlers,
                before_send=[secure],
                openapi_config=None,
                logging_config=None,  # telemetry decides on logs
            )
            server = make_server(app, settings)
            serving = asyncio.create_task(server.serve(sockets=[sock]), name=f"port {port}")
            stack.push_async_callback(end, server, serving)
        yield


def levels_of(instance: Instance) -> Levels:
    """Return what an instance has at this moment."""
    dispatcher = instance.dispatcher  # none before the first connection
    return Levels(
        slots=instance.settings.concurrency,
        busy_slots=dispatcher.slots.taken if dispatcher else 0,
        held_claims=len(dispatcher) if dispatcher else 0,
        unsettled_results=dispatcher.settling if dispatcher else 0,
        retention_seconds=instance.settings.retention_days * 86_400.0,
        notifications=instance.wakeup.notifications,
    )


async def end(server: Server, serving: asyncio.Task[None]) -> None:
    """Stop a server, which answers until the instance has drained, and wait for its end."""
    server.stop()
    await serving


def show_metrics(registry: CollectorRegistry) -> HTTPRouteHandler:
    """Return the route that answers a scrape."""

    @get("/metrics")
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        return metrics_response(registry, request)

    return metrics


def show_readiness(readiness: Readiness) -> HTTPRouteHandler:
    """Return the route that answers whether the instance is ready: 200, or 503 with the reason."""

    @get("/health/ready")
    async def ready() -> Response[Health]:
        if readiness.because is None:
            return Response(Health())
        return Response(Health(status=readiness.because), status_code=503)

    return ready
