"""The API's description: operations as Litestar knows them, schemas as msgspec checks them."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar, get
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Server
from litestar.routes import HTTPRoute
from msgspec import Struct

from app.api.body import DRY_RUN, JSON
from app.api.docs import DocsPage, OpenAPIJson, docs_router
from app.api.problems import MEDIA_TYPE, ApiRequest
from app.core.access.api_key import Scope
from app.core.access.idempotency import HEADER
from app.core.access.session import COOKIE, COOKIE_OVER_TLS
from app.core.jobs.job import Job, JobDocument, JobPatch, JobReplacement, JobState
from app.core.schedule.schedule import FORMS
from app.core.sets.plan import SetPlan
from app.targets.registry import KINDS, target_type
from app.wire.actions import Asked, NoFields, Skip
from app.wire.alerts import (
    AlertPage,
    AlertRule,
    AlertRulePage,
    Channel,
    ChannelDocument,
    ChannelPage,
    RuleDocument,
    ToldAlert,
)
from app.wire.audit import AuditPage
from app.wire.bulk import Bulk, BulkPage, BulkPreview, BulkRequest
from app.wire.calendars import Calendar, CalendarDocument, CalendarPage
from app.wire.checks import Check, CheckAddress
from app.wire.examples import BODIES
from app.wire.executions import Cancellation, Execution, ExecutionPage
from app.wire.explanations import Explanation
from app.wire.flows import Flow, FlowLimits, FlowPage
from app.wire.health import Health
from app.wire.instances import InstanceList, Stats
from app.wire.jobs import JobBatch, JobList, JobPage, JobSort
from app.wire.keys import ApiKey, KeyPage, KeyRequest, NewKey
from app.wire.maintenance import Maintenance, MaintenanceList, NewMaintenance
from app.wire.pauses import (
    EndedPause,
    JobPause,
    NewPause,
    Pause,
    PauseList,
    PausePreview,
    Resumption,
)
from app.wire.problems import Problem
from app.wire.schedules import PreviewedSchedule, SchedulePreview
from app.wire.secrets import NamedSecret, SecretPage, SecretValue
from app.wire.session import SessionState, SignIn
from app.wire.sets import SetMembers, SetPage, SetRequest
from app.wire.upcoming import Upcoming

REF = "#/components/schemas/{name}"
ALWAYS = (401, 403, 406, 422, 429, 500, 503)
"""Problems that any operation below /v1 may answer with."""
KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, made by `tocsin keys create` or POST /v1/keys. Until there is one, "
    "programs on the same machine need none. Scopes: write includes read, admin both.",
}
SESSION_SCHEME = {
    "type": "apiKey",
    "in": "cookie",
    "name": COOKIE_OVER_TLS,
    "description": "For browsers: POST /session sets it. Without TLS it is called "
    f"`{COOKIE}`. What changes something has to come from a page of the same origin.",
}
DRY_RUN_PARAMETER = {
    "name": DRY_RUN,
    "in": "query",
    "schema": {"type": "boolean"},
    "required": False,
    "description": "Answer as if it were done, and do nothing.",
}
KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "required": False,
    "description": "Once within 24 hours, however often it is sent: a new UUID for each request.",
}
PARAMETERS_OF_WRITES = {
    "post": (DRY_RUN_PARAMETER, KEY_PARAMETER),
    **dict.fromkeys(("put", "patch", "delete"), (DRY_RUN_PARAMETER,)),
}

SCHEMAS: tuple[Any, ...] = (
    *(JobDocument, JobReplacement, JobPatch, JobBatch, Job, JobPage, JobList, JobState, JobSort),
    Explanation,
    *(Execution, ExecutionPage, InstanceList, Stats, SchedulePreview, PreviewedSchedule, Upcoming),
    *(BulkRequest, Bulk, BulkPage, BulkPreview),
    *(
        Cancellation,
        NoFields,
        Asked,
        Skip,
        *(FlowLimits, Flow, FlowPage),
        *(RuleDocument, AlertRule, AlertRulePage, ToldAlert, AlertPage),
        *(ChannelDocument, Channel, ChannelPage),
        *(CalendarDocument, Calendar, CalendarPage),
        *(Check, CheckAddress),
        *(SetRequest, SetPlan, SetMembers, SetPage),
        JobPause,
        Resumption,
        NewMaintenance,
        Maintenance,
        MaintenanceList,
        NewPause,
        Pause,
        PausePreview,
        PauseList,
        EndedPause,
        KeyRequest,
        NewKey,
        ApiKey,
        KeyPage,
        AuditPage,
        SecretValue,
        SecretPage,
        NamedSecret,
        SignIn,
        SessionState,
        Health,
        Problem,
    ),
)


def openapi_config(version: str, root: str) -> OpenAPIConfig:
    """Return Litestar's configuration of the API's description: pages, paths below `root`."""
    return OpenAPIConfig(
        title="Tocsin",
        version=version,
        description="Jobs that call HTTP and AMQP targets on time. Instants are RFC 3339 in UTC, "
        "durations are seconds. Every error is an RFC 9457 problem that names the fields.",
        use_handler_docstrings=True,
        openapi_router=docs_router(),
        servers=[Server(url=root or "/")],
        render_plugins=[DocsPage(), OpenAPIJson(lambda request: description(request.app))],
    )


@get("/openapi.json", include_in_schema=False, media_type=OpenAPIMediaType.OPENAPI_JSON)
async def openapi_json(request: ApiRequest) -> bytes:
    """The same as /docs/openapi.json."""
    return msgspec.json.encode(description(request.app))


def description(app: Litestar) -> dict[str, Any]:
    """Describe the API as OpenAPI 3.1."""
    document = app.openapi_schema.to_schema()
    document["components"]["schemas"] = schemas()
    document["components"]["securitySchemes"] = {"key": KEY_SCHEME, "session": SESSION_SCHEME}
    for path, method, handler in described_handlers(app):
        operation = document["paths"][path][method]
        responses = operation["responses"]
        responses.pop("400", None)
        success = responses[str(handler.status_code)]
        if handler.status_code == HTTPStatus.NO_CONTENT:
            success.pop("content", None)
        responses |= {str(status): success for status in handler.opt.get("also", ())}
        problems = {*handler.opt.get("problems", ()), *(ALWAYS if path.startswith("/v1") else ())}
        if path.startswith("/v1") and method in PARAMETERS_OF_WRITES:
            parameters = operation.setdefault("parameters", [])
            parameters += PARAMETERS_OF_WRITES[method]
            problems |= {409, 413} if method == "post" else set()
        responses |= {str(status): problem_response(status) for status in sorted(problems)}
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = if_given(parameter["schema"])
        if path.startswith("/v1") or "scope" in handler.opt:
            scopes = [handler.opt.get("scope", Scope.ADMIN)]
            operation["security"] = [{"key": scopes}, {"session": scopes}]
        if body := handler.opt.get("body"):
            media_types = handler.opt.get("media_types", (JSON,))
            content = {
                "schema": {"$ref": REF.format(name=body.__name__)},
                "examples": {name: {"value": one} for name, one in BODIES[body.__name__].items()},
            }
            operation["requestBody"] = {
                "required": not handler.opt.get("body_may_be_left_out", False),
                "content": dict.fromkeys(media_types, content),
            }
    return document


def described_handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """List (path, method, handler) of every operation."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if handler.resolve_include_in_schema():
                yield route.path_format, method.lower(), handler


def if_given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter without null: clients leave out a parameter instead."""
    kept: list[dict[str, Any]] = [one for one in schema.get("oneOf", ()) if one != {"type": "null"}]
    if len(kept) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "oneOf"} | kept[0]


def problem_response(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(name=Problem.__name__)}}},
    }


def schemas() -> dict[str, Any]:
    """Describe every Struct, and for each kind its targets."""
    targets: dict[str, type[Struct]] = {kind: target_type(kind) for kind in KINDS}
    _, found = msgspec.json.schema_components([*SCHEMAS, *targets.values()], ref_template=REF)
    for document in (JobDocument, JobReplacement):
        found[document.__name__]["allOf"] = [
            {"oneOf": by_kind(targets)},
            {"oneOf": by_schedule(JobDocument)},
        ]
    found[SchedulePreview.__name__]["oneOf"] = by_schedule(SchedulePreview)
    return found


def by_kind(targets: dict[str, type[Struct]]) -> list[dict[str, Any]]:
    """The kind decides on the target."""
    return [
        {
            "title": kind,
            "properties": {
                "kind": {"const": kind},
                "target": {"$ref": REF.format(name=target.__name__)},
            },
        }
        for kind, target in targets.items()
    ]


def by_schedule(struct: type[Struct]) -> list[dict[str, Any]]:
    """Exactly one of the schedules that the Struct has is given."""
    null = {"type": "null"}
    forms = [name for name in (*FORMS, "run_in_seconds") if name in struct.__struct_fields__]
    return [
        {
            "title": name,
            "required": [name],
            "properties": {other: {"not": null} if other == name else null for other in forms},
        }
        for name in forms
    ]
