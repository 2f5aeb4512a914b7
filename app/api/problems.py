"""Every error of the API as an RFC 9457 problem, made in this one place."""

import re
from enum import StrEnum
from http import HTTPStatus

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from app.core.facts import Faulted
from app.core.field_errors import NOT_AN_INSTANT, example, remedy
from app.core.instants import misread_instant
from app.db.errors import refused_by_others
from app.errors import (
    AlertNotFound,
    AnswerTooLarge,
    AppError,
    BulkNotFound,
    CalendarNotFound,
    CalendarUsed,
    CheckNotFound,
    ConstraintViolated,
    CrossOrigin,
    DatabaseRefused,
    DatabaseUnavailable,
    EditConflict,
    EditsConflict,
    ExecutionNotFound,
    FieldError,
    FlowNotFound,
    IdempotencyKeyReused,
    InvalidInput,
    JobNotFound,
    KeyLimitError,
    KeyLimitReached,
    KeyNameTaken,
    KeyNotFound,
    KeyRequired,
    MaintenanceNotFound,
    MalformedInput,
    NamesTaken,
    NameTaken,
    PauseNotFound,
    PoolerInTheWay,
    RequestUnderWay,
    RightMissing,
    SchemaOutdated,
    ScopeMissing,
    SecretKeysMissing,
    SecretNotFound,
    SetConflict,
    SetNotFound,
    StateConflict,
    TooManyKept,
    TooManyStreams,
    TooManyTests,
    TriggerRefused,
)
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.wire.problems import Problem

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tocsin:problem:"
RETRY_AFTER_SECONDS = 1
"""When a client may ask again after an outage of the database."""

LOST_PLUS = re.compile(r":\d{2}(\.\d+)? \d{2}(:?\d{2})?$", re.ASCII)
"""The end of an instant whose offset has a space for its plus."""

ApiRequest = Request[object, object, State]


class Kind(Struct, frozen=True):
    """The parts that all problems of one class share."""

    status: int
    slug: str
    title: str


KINDS: dict[type[AppError], Kind] = {
    MalformedInput: Kind(400, "malformed-input", "The body is not JSON"),
    KeyRequired: Kind(401, "key-required", "An API key is needed"),
    ScopeMissing: Kind(403, "scope-missing", "The API key does not allow this"),
    KeyLimitReached: Kind(403, "key-limit", "A limit of the API key does not allow this"),
    CrossOrigin: Kind(403, "cross-origin", "A page of elsewhere asked for this"),
    PauseNotFound: Kind(404, "pause-not-found", "There is no such pause"),
    MaintenanceNotFound: Kind(404, "maintenance-not-found", "There is no such maintenance"),
    JobNotFound: Kind(404, "job-not-found", "There is no such job"),
    CheckNotFound: Kind(404, "check-not-found", "There is no such check"),
    BulkNotFound: Kind(404, "bulk-not-found", "There is no such bulk action"),
    ExecutionNotFound: Kind(404, "execution-not-found", "There is no such execution"),
    KeyNotFound: Kind(404, "key-not-found", "There is no such API key"),
    AlertNotFound: Kind(404, "alert-not-found", "There is no such alert, rule or channel"),
    CalendarNotFound: Kind(404, "calendar-not-found", "There is no such calendar"),
    FlowNotFound: Kind(404, "flow-not-found", "There is no such flow"),
    SecretNotFound: Kind(404, "secret-not-found", "There is no such secret"),
    SetNotFound: Kind(404, "set-not-found", "There is no such set"),
    SetConflict: Kind(409, "set-conflict", "The set cannot be applied as things are"),
    NameTaken: Kind(409, "name-taken", "The name belongs to another job"),
    KeyNameTaken: Kind(409, "key-name-taken", "The name belongs to another API key"),
    CalendarUsed: Kind(409, "calendar-used", "The calendar is used"),
    StateConflict: Kind(409, "state-conflict", "The job is in a state that does not allow this"),
    SecretKeysMissing: Kind(409, "secret-keys-missing", "There is no key to encrypt with"),
    ConstraintViolated: Kind(409, "constraint-violated", "A constraint in the database forbids it"),
    RequestUnderWay: Kind(409, "request-under-way", "The same request is under way"),
    EditConflict: Kind(412, "edit-conflict", "The job was edited meanwhile"),
    AnswerTooLarge: Kind(413, "answer-too-large", "The answer cannot be kept"),
    IdempotencyKeyReused: Kind(
        422, "idempotency-key-reused", "The Idempotency-Key was sent with another request"
    ),
    InvalidInput: Kind(422, "invalid-input", "The input breaks a rule"),
    TriggerRefused: Kind(422, "trigger-refused", "A trigger in the database refuses this"),
    TooManyKept: Kind(429, "too-many-idempotency-keys", "There are too many idempotency keys"),
    TooManyStreams: Kind(429, "too-many-streams", "There are too many streams"),
    TooManyTests: Kind(429, "too-many-tests", "There are too many tests under way"),
    DatabaseUnavailable: Kind(503, "database-unavailable", "Postgres is not available"),
    PoolerInTheWay: Kind(503, "pooler-in-the-way", "The database is behind a pooler"),
    SchemaOutdated: Kind(503, "schema-outdated", "The database's schema does not fit"),
}

REFUSALS = {
    404: Kind(404, "not-found", "Nothing is at this address"),
    405: Kind(405, "method-not-allowed", "The address does not take this method"),
    406: Kind(406, "not-acceptable", "The answer would not be acceptable"),
    413: Kind(413, "body-too-large", "The body is too large"),
    415: Kind(415, "unsupported-media-type", "The body is of a type that is not read"),
    429: Kind(429, "too-many-requests", "There are too many requests"),
}
"""Titles of the statuses that Litestar and handlers refuse with; Python's own differ by version."""

DETAILS = {
    404: "nothing is at this address; /docs lists what there is",
    405: "this address does not take this method; the header Allow says which it takes",
    413: "the body is too large: send less at a time",
}
"""Details for statuses whose details by Litestar would not help a client."""


def app_problem(request: ApiRequest, error: AppError) -> Response[bytes]:
    """Answer one of Tocsin's own errors with its problem."""
    if isinstance(error, InvalidInput) and is_of_limits(error):
        error = KeyLimitReached(*error.errors)
    kind = next((KINDS[one] for one in type(error).__mro__ if one in KINDS), None)
    if kind is None:
        return unexpected_problem(request, error)
    match error:
        case InvalidInput() | NamesTaken() | EditsConflict() | SetConflict():
            errors = list(error.errors)
        case NameTaken() | KeyNameTaken():
            errors = [FieldError(field="name", message=str(error))]
        case _:
            errors = []
    headers = {"WWW-Authenticate": challenge} if (challenge := challenge_of(error)) else {}
    if isinstance(error, RequestUnderWay | TooManyStreams | TooManyTests):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    detail = str(error)
    if isinstance(error, DatabaseUnavailable) and not isinstance(error, SchemaOutdated):
        observers: Observers = request.app.state.observers
        # The error's own sentence, which has no secret and says what to do, and no traceback.
        observers.tell(Faulted(where=where(request), error=str(error)))
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        detail = unavailable(error)
    return answered(
        Problem(
            type=f"{TYPE_PREFIX}{kind.slug}",
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=errors,
        ),
        headers=headers,
    )


def is_of_limits(error: InvalidInput) -> bool:
    """Return whether nothing is wrong with the input but what a limit of the API key forbids."""
    return error.errors != () and all(isinstance(one, KeyLimitError) for one in error.errors)


def unavailable(error: DatabaseUnavailable) -> str:
    """Say what an operator has to do, without the host, user and database, which the log names."""
    match error:
        case RightMissing():
            return "Tocsin's role in Postgres lacks a right: `tocsin doctor` says which"
        case DatabaseRefused(remedy=remedy):
            told = f"{remedy[:1].lower()}{remedy[1:]}; " if remedy else ""
            return (
                "Postgres refuses the connection until an operator changes something: "
                f"{told}the log of the API has its words, and so has `tocsin doctor`"
            )
        case _:
            return "Postgres cannot be reached, or gave up on a statement: try again"


def http_problem(request: ApiRequest, error: HTTPException) -> Response[bytes]:
    """Answer a refusal of Litestar with a problem."""
    if isinstance(error, ValidationException):
        return app_problem(request, InvalidInput(*parameter_errors(request, error)))
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected_problem(request, error)
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers["Connection"] = "close"  # else the server would read the rest
    if error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = headers["Ratelimit-Reset"]
    kind = REFUSALS.get(error.status_code) or Kind(error.status_code, "refused", "Refused")
    return answered(
        Problem(
            type=f"{TYPE_PREFIX}{kind.slug}",
            title=kind.title,
            status=kind.status,
            detail=DETAILS.get(kind.status, error.detail),
            errors=[],
        ),
        headers=headers,
    )


def challenge_of(error: AppError) -> str | None:
    """Return the challenge that says how to authenticate (RFC 6750); None for other errors."""
    match error:
        case KeyRequired(refused=True):
            return 'Bearer realm="tocsin", error="invalid_token"'
        case KeyRequired():
            return 'Bearer realm="tocsin"'
        case ScopeMissing():
            return f'Bearer realm="tocsin", error="insufficient_scope", scope="{error.scope}"'
        case _:
            return None


def unexpected_problem(request: ApiRequest, error: Exception) -> Response[bytes]:
    """Answer for a bug: the log gets the place in the code, the client learns nothing.

    The refusal of a constraint or trigger of users is no bug.
    """
    if refused := refused_by_others(error):
        return app_problem(request, refused)
    tell_error(request, error)
    return answered(
        Problem(
            type=f"{TYPE_PREFIX}internal-error",
            title="Tocsin failed",
            status=500,
            detail="this is a bug of Tocsin; its log says where",
            errors=[],
        )
    )


def answered(problem: Problem, *, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers or {},
    )


def tell_error(request: ApiRequest, error: Exception) -> None:
    """Tell the observers where a request failed."""
    observers: Observers = request.app.state.observers
    observers.tell(faulted(where(request), error))


def where(request: ApiRequest) -> str:
    """Name the address of the API that was asked."""
    return f"{request.method} {request.scope.get('path_template', request.url.path)}"


def parameter_errors(request: ApiRequest, error: ValidationException) -> list[FieldError]:
    """Name the parameters of path and query that were refused."""
    given = error.extra if isinstance(error.extra, list) else []
    errors = []
    for one in given:
        key = one.get("key", "")
        name = parameter_name(request, key)
        value = request.query_params.get(name)
        if value is not None and NOT_AN_INSTANT.match(one["message"]):
            message = misread_instant(value)
        else:
            message = remedy(one["message"], allowed=allowed_values(request, key))
        message += plus_hint(value) or example(name)
        errors.append(FieldError(field=name, message=message))
    return errors


def plus_hint(value: str | None) -> str:
    """Say how an offset is written where its plus was read as a space, as in any address."""
    return "; in an address write + as %2B" if value and LOST_PLUS.search(value) else ""


def parameter_name(request: ApiRequest, key: str) -> str:
    """Return what the client calls a parameter of the handler."""
    known = request.route_handler.parsed_fn_signature.parameters.get(key.partition(".")[0])
    return getattr(known and known.kwarg_definition, "name", None) or key


def allowed_values(request: ApiRequest, key: str) -> list[str] | None:
    """List the values of a parameter that is one of a few words."""
    known = request.route_handler.parsed_fn_signature.parameters.get(key.partition(".")[0])
    types = [known.annotation, *(inner.annotation for inner in known.inner_types)] if known else []
    for one in types:
        if isinstance(one, type) and issubclass(one, StrEnum):
            return [member.value for member in one]
    return None
