"""Composes the API: routes, shared dependencies, and the lifespan of the database pool."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import HttpMethod, Litestar, Response, Router
from litestar.datastructures import CacheControlHeader, State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.routes import HTTPRoute
from litestar.types import Scope

from app.api.access import KeyAuthentication, KeyRing, is_loopback, require_scope
from app.api.actions import pause_job, resume_job, run_job, skip_runs, unskip_runs
from app.api.alerts import (
    delete_channel,
    delete_rule,
    get_alert,
    get_channel,
    get_rule,
    list_alerts,
    list_channels,
    list_rules,
    put_channel,
    put_rule,
    test_channel,
)
from app.api.audit import list_changes
from app.api.batch import create_jobs
from app.api.body import check_request
from app.api.bulk import ask_bulk, cancel_bulk, get_bulk, list_bulk
from app.api.calendars import delete_calendar, get_calendar, list_calendars, put_calendar
from app.api.checks import get_check, make_token, revoke_token
from app.api.events import stream_events
from app.api.executions import (
    cancel_execution,
    get_execution,
    list_executions,
    list_executions_of_job,
    replay_execution,
)
from app.api.explain import explain_job
from app.api.feed import Feed
from app.api.flows import (
    delete_flow,
    get_flow,
    list_flows,
    pause_flow,
    put_flow,
    release_flow,
    resume_flow,
)
from app.api.headers import secure
from app.api.heads import as_head
from app.api.health import live, ready
from app.api.instances import get_stats, list_instances
from app.api.jobs import create_job, delete_job, get_job, list_jobs, patch_job, put_job
from app.api.keys import create_key, get_key, list_keys, revoke_key
from app.api.lines import Listed
from app.api.llms import llms
from app.api.maintenance import begin_maintenance, end_maintenance, list_maintenance
from app.api.metrics import ApiMetrics, ScraperAuthentication, get_metrics
from app.api.openapi import openapi_config, openapi_json
from app.api.pauses import create_pause, end_pause, list_pauses
from app.api.pings import pings, receiving
from app.api.problems import ApiRequest, app_problem, unexpected_problem
from app.api.rate_limit import rate_limit
from app.api.requests import Answering
from app.api.root_path import with_root, without_root
from app.api.safe_writes import HELD, SafeWrites, safe_writes
from app.api.schedule import preview_schedule
from app.api.secrets import delete_secret, list_secrets, put_secret
from app.api.session import get_session, sign_in, sign_out
from app.api.sets import apply_jobs, delete_set, get_set, jobs_schema, list_sets, plan_jobs
from app.api.streams import Streams
from app.api.testing import test_job, test_target
from app.api.upcoming import list_upcoming
from app.config import Settings
from app.core.net.egress import Egress
from app.core.schedule.zones import use_rules
from app.db import Database
from app.db.clock import PolledClock
from app.db.pages import reading_pool
from app.errors import AppError
from app.jobs.testing import testing
from app.targets.registry import IGNORED
from app.telemetry import Observers
from app.telemetry.logs import REQUEST_ID, access_lines, log_fact
from app.telemetry.version import product_version
from app.vault import SecretKeys
from app.web.router import http_refusal, pages
from app.web.shared import sharing

MAX_BYTES = 1024 * 1024
"""The largest body of a request, in bytes."""


class Application(Litestar):
    """Litestar, with an answer to HEAD for every route that answers GET (RFC 9110, 9.3.2).

    Each request is counted in `state.metrics`, and told to `state.tell_requests` if that is given.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if root := self.state.root_path:
            scope, send = without_root(scope, root), with_root(send, root)
        if scope["method"] == "HEAD":
            scope = {**scope}  # the server's own goes on saying what was asked
        answering = Answering(scope, send)
        token = REQUEST_ID.set(answering.id)
        try:
            await self.answer(scope, receive, answering.send_on)
        finally:
            answering.end(self.state.metrics, self.state.tell_requests)
            REQUEST_ID.reset(token)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer a request; a HEAD as GET, without the body."""
        if scope["method"] == "HEAD":
            scope["method"] = HttpMethod.GET
            receive, send = as_head(receive, send)
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    observers: Observers | None = None,
    *,
    only_pings: bool = False,
    keeps_traceparent: bool = False,
) -> Litestar:
    """Make the ASGI application, which starts and answers even while Postgres does not.

    With `only_pings` nothing is served but the pings of checks and the probes. With
    `keeps_traceparent` the metadata of a job names the span that made it.

    Raises:
        InvalidSettings: no database address was given, or a list of targets cannot be read.
    """
    Egress.from_settings(settings)  # raises for settings with which no instance would start
    database_url = settings.required_database_url()
    use_rules(settings.tzdata)
    observers = observers or Observers(log_fact)
    for ignored in IGNORED:
        observers.tell(ignored)

    @asynccontextmanager
    async def database(app: Litestar) -> AsyncIterator[None]:
        here = f"{socket.gethostname()[:30]}:{os.getpid()}"
        name = f"tocsin api {here}"
        async with (
            Database.connect(database_url, application_name=name) as db,
            reading_pool(database_url, application_name=name) as reader,
            receiving(database_url, application_name=f"tocsin pings {here}") as receiver,
            testing(settings, db, app.state.secret_keys, observers) as tester,
        ):
            app.state.db = db
            app.state.receiver = receiver
            app.state.clock = PolledClock(db)
            app.state.feed = Feed(reader, app.state.clock)
            app.state.key_ring = KeyRing(db)
            app.state.safe_writes = SafeWrites(db)
            app.state.testing = tester
            async with sharing(app.state, reader, app.state.clock, settings):
                yield

    return Application(
        route_handlers=[pings(), live, ready]
        if only_pings
        else [
            *(v1(settings), session(), metrics(), pings(), live, ready),
            *(openapi_json, llms, jobs_schema, pages()),
        ],
        lifespan=[database],
        state=State(
            {
                "observers": observers,
                "open_to_loopback": is_loopback(settings.host),
                "secret_keys": SecretKeys(settings.secret_keys),
                "metrics": ApiMetrics(product_version()),
                "tell_requests": access_lines(settings.access_log_level),
                "keeps_traceparent": keeps_traceparent,
                "ending": asyncio.Event(),
                "streams": Streams(),
                "applying": asyncio.Lock(),
                "root_path": settings.root_path,
                "title": settings.title,
                "color": settings.color,
                "trace_url": settings.trace_url,
            }
        ),
        dependencies={
            "db": Provide(provide_db, sync_to_thread=False),
            "reader": Provide(provide_reader, sync_to_thread=False),
            "clock": Provide(provide_clock, sync_to_thread=False),
            "secret_keys": Provide(provide_secret_keys, sync_to_thread=False),
        },
        exception_handlers={
            AppError: app_problem,
            HTTPException: http_refusal,
            Exception: unexpected_problem,
        },
        request_max_body_size=MAX_BYTES,
        before_send=[secure],
        openapi_config=None
        if only_pings
        else openapi_config(product_version(), settings.root_path),
        logging_config=None,  # telemetry decides on logs
        debug=False,
    )


def v1(settings: Settings) -> Router:
    """Return the routes that ask for an API key."""
    limits = [rate_limit(settings.rate_limit)] if settings.rate_limit else []
    return Router(
        "/v1",
        route_handlers=[
            Router(
                "/jobs",
                route_handlers=[
                    *(create_job, create_jobs, put_job, list_jobs, get_job, patch_job, delete_job),
                    *(pause_job, resume_job, run_job, skip_runs, unskip_runs, explain_job),
                    *(plan_jobs, apply_jobs, test_job),
                ],
                tags=["Jobs"],
            ),
            Router("/tests", route_handlers=[test_target], tags=["Jobs"]),
            Router(
                "/",
                route_handlers=[
                    *(list_executions, list_executions_of_job, get_execution),
                    *(replay_execution, cancel_execution, stream_events),
                ],
                tags=["Executions"],
            ),
            Router(
                "/bulk", route_handlers=[ask_bulk, list_bulk, get_bulk, cancel_bulk], tags=["Bulk"]
            ),
            Router(
                "/maintenance",
                route_handlers=[list_maintenance, begin_maintenance, end_maintenance],
                tags=["Calendars"],
            ),
            Router("/sets", route_handlers=[list_sets, get_set, delete_set], tags=["Jobs"]),
            Router("/pauses", route_handlers=[list_pauses, create_pause, end_pause], tags=["Jobs"]),
            Router(
                "/checks", route_handlers=[get_check, make_token, revoke_token], tags=["Checks"]
            ),
            Router("/schedule", route_handlers=[preview_schedule], tags=["Schedules"]),
            Router("/", route_handlers=[list_upcoming], tags=["Schedules"]),
            Router(
                "/flows",
                route_handlers=[
                    *(put_flow, list_flows, get_flow, delete_flow),
                    *(pause_flow, resume_flow, release_flow),
                ],
                tags=["Flows"],
            ),
            Router(
                "/alerts",
                route_handlers=[
                    *(list_alerts, get_alert, put_rule, list_rules, get_rule, delete_rule),
                    *(put_channel, list_channels, get_channel, delete_channel, test_channel),
                ],
                tags=["Alerts"],
            ),
            Router(
                "/calendars",
                route_handlers=[put_calendar, list_calendars, get_calendar, delete_calendar],
                tags=["Schedules"],
            ),
            Router("/", route_handlers=[list_instances, get_stats], tags=["Instances"]),
            Router(
                "/keys",
                route_handlers=[create_key, list_keys, get_key, revoke_key],
                tags=["Access"],
            ),
            Router(
                "/secrets",
                route_handlers=[put_secret, list_secrets, delete_secret],
                tags=["Access"],
            ),
            Router("/", route_handlers=[list_changes], tags=["Access"]),
        ],
        middleware=[DefineMiddleware(KeyAuthentication), *limits, safe_writes],
        guards=[require_scope],
        before_request=first,
        response_class=Listed,
        cache_control=CacheControlHeader(no_store=True),
    )


def session() -> Router:
    """Return the routes with which browsers sign in and out."""
    return Router(
        "/session",
        route_handlers=[sign_in, get_session, sign_out],
        tags=["Access"],
        before_request=first,
        cache_control=CacheControlHeader(no_store=True),
    )


def metrics() -> Router:
    """Return the route that Prometheus scrapes, with an API key as all others."""
    return Router(
        "/",
        route_handlers=[get_metrics],
        middleware=[DefineMiddleware(ScraperAuthentication)],
        guards=[require_scope],
        cache_control=CacheControlHeader(no_store=True),
    )


def first(request: ApiRequest) -> Response[None] | None:
    """Check a request before its handler.

    OPTIONS is answered here, as Litestar would not name all methods.
    """
    if request.method != "OPTIONS":
        check_request(request)
        return None
    methods = {
        method
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and route.path_format == request.scope["path_template"]
        for method in route.route_handler_map
    }
    return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})


def provide_db(state: State, scope: Scope) -> Database:
    """Return the database, acting for the caller of the request, as a handler's `db`.

    Usually that is the pool; for a dry run, or with an Idempotency-Key, the request's transaction.
    """
    db: Database = scope["state"].get(HELD, state.db)
    caller = scope.get("user")
    return db.acting_for(caller.actor, limits=caller.limits) if caller else db


def provide_reader(state: State) -> Database:
    """Return the pool of the dashboard's pages, as a handler's `reader`."""
    reader: Database = state.reader
    return reader


def provide_clock(state: State) -> PolledClock:
    """Return the database's clock, as a handler's `clock`."""
    clock: PolledClock = state.clock
    return clock


def provide_secret_keys(state: State) -> SecretKeys:
    """Return the keys that encrypt secrets, as a handler's `secret_keys`."""
    keys: SecretKeys = state.secret_keys
    return keys
