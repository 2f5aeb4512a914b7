"""The API's description: operations as Litestar knows them, schemas as msgspec checks them."""

from collections.abc import Callable, Iterator
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
from app.api.schemas import ref, scheduled, schemas
from app.core.access.api_key import Scope
from app.core.access.idempotency import HEADER
from app.core.access.session import COOKIE, COOKIE_OVER_TLS
from app.core.jobs.job import Job, JobDocument, JobPatch, JobReplacement, JobState
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
from app.wire.jobs import BatchJob, JobBatch, JobList, JobPage, JobSort
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
from app.wire.target_tests import JobTest, TargetTest, TestedTarget
from app.wire.upcoming import Upcoming

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
TAGS = {
    "Jobs": "What to call, and when; sets of jobs that files own, and pauses of many.",
    "Executions": "What jobs have done: each attempt, and each run that was missed.",
    "Bulk": "Something done with all jobs, or executions, that a filter finds.",
    "Schedules": "Runs to come, previews, and calendars that close time.",
    "Calendars": "Windows of maintenance.",
    "Checks": "Jobs that expect pings.",
    "Flows": "Limits that jobs share.",
    "Alerts": "Who is told when jobs go wrong, and what was told.",
    "Instances": "Who carries jobs out, and how much there is to do.",
    "Access": "Keys, sessions, secrets, and the record of changes.",
    "Health": "Whether the API lives, and can do its work.",
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
    *(TargetTest, JobTest, TestedTarget),
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
    return once(request.app, "openapi_json", lambda: msgspec.json.encode(description(request.app)))


def once(app: Litestar, name: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` makes of the API's description, made at the first request for it."""
    if name not in app.state:
        app.state[name] = make()
    made: bytes = app.state[name]
    return made


def description(app: Litestar) -> dict[str, Any]:
    """Describe the API as OpenAPI 3.1."""
    document = app.openapi_schema.to_schema()
    components = document["components"]
    components["schemas"] = described()
    components["securitySchemes"] = {"key": KEY_SCHEME, "session": SESSION_SCHEME}
    components["responses"] = {}
    document["tags"] = [{"name": name, "description": said} for name, said in TAGS.items()]
    for path, method, handler in described_handlers(app):
        operation = document["paths"][path][method]
        operation["responses"] = answers(operation, handler, components["schemas"])
        problems = {*handler.opt.get("problems", ()), *(ALWAYS if path.startswith("/v1") else ())}
        parameters = [as_given(one) for one in operation.pop("parameters", ())]
        if path.startswith("/v1") and method in PARAMETERS_OF_WRITES:
            parameters += PARAMETERS_OF_WRITES[method]
            problems |= {409, 413} if method == "post" else set()
        if parameters:
            operation["parameters"] = parameters
        for status in sorted(problems):
            name = "".join(part.capitalize() for part in HTTPStatus(status).name.split("_"))
            components["responses"][name] = problem_response(status)
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
        if path.startswith("/v1") or "scope" in handler.opt:
            scopes = [handler.opt.get("scope", Scope.ADMIN)]
            operation["security"] = [{"key": scopes}, {"session": scopes}]
        if body := handler.opt.get("body"):
            media_types = handler.opt.get("media_types", (JSON,))
            content = {
                "schema": ref(body.__name__),
                "examples": {name: {"value": one} for name, one in BODIES[body.__name__].items()},
            }
            operation["requestBody"] = {
                "required": not handler.opt.get("body_may_be_left_out", False),
                "content": dict.fromkeys(media_types, content),
            }
    return document


def answers(
    operation: dict[str, Any], handler: HTTPRouteHandler, found: dict[str, Any]
) -> dict[str, Any]:
    """Return the responses of an operation that are no problems.

    An answer of one of several types becomes a schema in `found`, so that it has a name.
    """
    success = operation["responses"][str(handler.status_code)]
    if handler.status_code == HTTPStatus.NO_CONTENT:
        success.pop("content", None)
    for header in success.get("headers", {}).values():
        header["schema"] = {"type": "string"}
    for content in success.get("content", {}).values():
        if "oneOf" in content["schema"]:
            name = f"{operation['operationId'][0].upper()}{operation['operationId'][1:]}Answer"
            found[name] = {"description": operation["summary"], **content["schema"]}
            content["schema"] = ref(name)
    return {str(status): success for status in (handler.status_code, *handler.opt.get("also", ()))}


def described_handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """List (path, method, handler) of every operation."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if handler.resolve_include_in_schema():
                yield route.path_format, method.lower(), handler


def as_given(parameter: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter without what is so of itself, and without null: clients leave it out."""
    kept = {name: value for name, value in parameter.items() if value is not False}
    schema = dict(parameter["schema"])
    schema.pop("description", None)
    forms = [one for one in schema.get("oneOf", ()) if one != {"type": "null"}]
    if len(forms) == 1:
        schema = {name: value for name, value in schema.items() if name != "oneOf"} | forms[0]
    if schema.get("type") == "integer":
        bounds = {name: int(schema[name]) for name in ("minimum", "maximum") if name in schema}
        schema |= bounds
    if schema.get("type") == "number":
        schema["format"] = "double"
    return kept | {"schema": schema}


def problem_response(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": ref(Problem.__name__)}},
    }


def described() -> dict[str, Any]:
    """Describe every Struct that is sent or received, and for each kind its targets."""
    targets: dict[str, type[Struct]] = {kind: target_type(kind) for kind in KINDS}
    found = schemas(SCHEMAS, targets=targets, of_jobs=(JobDocument, JobReplacement, BatchJob))
    scheduled(found[SchedulePreview.__name__], SchedulePreview)
    return found
