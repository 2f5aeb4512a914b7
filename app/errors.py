"""Every error that Tocsin raises on purpose; edges translate the errors of libraries into these."""

from msgspec import Struct

WHOLE = "$"
"""The path of the whole input, in place of a field's."""


class FieldError(Struct, frozen=True, kw_only=True):
    """An error in one field of the input, with what to write instead."""

    field: str
    """The path of the field: `cron`, `target.url`, `[3].name`; see `app.core.field_paths`."""
    message: str


class KeyLimitError(FieldError, frozen=True, kw_only=True):
    """What a job may not have for a limit of the API key alone; the message names the limit."""


class AppError(Exception):
    """Base of all errors raised on purpose; its message is fit for a client."""


class InvalidInput(AppError):
    """The input can be read but breaks a rule; `errors` names each field and its remedy."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(
            "; ".join(
                f"{e.field}: {e.message}" if e.field not in ("", WHOLE) else e.message
                for e in errors
            )
        )
        self.errors = errors


class KeyLimitReached(InvalidInput):
    """Nothing is wrong with the input but that limits of the API key do not allow it."""


class MalformedInput(AppError):
    """The input cannot be read, as invalid JSON for example."""


class JobNotFound(AppError):
    """No job has this id or name."""


class PauseNotFound(AppError):
    """No pause of a tag or of everything has this id."""


class MaintenanceNotFound(AppError):
    """No window of maintenance has this id."""


class CheckNotFound(AppError):
    """The job is no check, or the check has no address."""


class ExecutionNotFound(AppError):
    """No execution has this id."""


class BulkNotFound(AppError):
    """No bulk action has this id."""


class KeyNotFound(AppError):
    """No API key has this prefix or name."""


class KeyRequired(AppError):
    """The request has no valid API key; `refused` tells that it has an invalid one."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ScopeMissing(AppError):
    """The API key of the request lacks the `scope` that the request needs."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class CrossOrigin(AppError):
    """A browser sent its session with a request that none of Tocsin's own pages made."""


class KeyNameTaken(AppError):
    """Another API key in force already has this name."""


class NameTaken(AppError):
    """Another job already has this name."""


class NamesTaken(NameTaken):
    """Some names of a batch belong to other jobs; `errors` names each."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in errors))
        self.errors = errors


class AlertNotFound(AppError):
    """No alert, rule or channel has this id or name."""


class FlowNotFound(AppError):
    """No flow has this key."""


class CalendarNotFound(AppError):
    """No calendar has this name."""


class SetNotFound(AppError):
    """No set has this name."""


class SetConflict(AppError):
    """A set cannot be applied as things are; `errors` names what is in the way, if anything is."""

    def __init__(self, message: str, *errors: FieldError) -> None:
        super().__init__(message)
        self.errors = errors


class SecretNotFound(AppError):
    """No named secret has this name."""


class SecretKeysMissing(AppError):
    """No secret key is set to encrypt with; the message says how to make one."""


class EditConflict(AppError):
    """The job was edited after the client read it (`If-Match`)."""


class EditsConflict(EditConflict):
    """Some jobs of a batch are not of the version that was to be replaced; `errors` names each."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in errors))
        self.errors = errors


class CalendarUsed(AppError):
    """Jobs, or windows of maintenance, use the calendar."""


class StateConflict(AppError):
    """The job's state does not allow the action; the message says what to do first."""


class RequestUnderWay(AppError):
    """Another request with the same Idempotency-Key has yet to end."""


class IdempotencyKeyReused(AppError):
    """The Idempotency-Key of a request was sent with another request before."""


class AnswerTooLarge(AppError):
    """The answer to a request with an Idempotency-Key is too large to be kept, so it was undone."""


class TooManyKept(AppError):
    """A client has used too many idempotency keys within a day."""


class TooManyTests(AppError):
    """As many tests are under way as a process, or a caller, may have."""


class TooManyStreams(AppError):
    """An API key has as many streams, or different lists, open as one process serves it."""


class ConstraintViolated(AppError):
    """A constraint that users put on, or beside, Tocsin's tables forbids the change."""


class TriggerRefused(AppError):
    """A function of users, such as that of a trigger on Tocsin's tables, failed or refused."""


class WriteSuppressed(TriggerRefused):
    """A trigger, rule or policy of users kept a job from being written, without an error."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"{job} stays as it is: a trigger, rule or policy of yours on tocsin.jobs kept it from "
            "being written, without an error; \\d tocsin.jobs in psql lists them"
        )


class Exposed(AppError):
    """The API would serve other machines without asking for an API key."""


class InvalidSettings(AppError):
    """An environment variable has a value that cannot be used; the message names it."""


class DatabaseUnavailable(AppError):
    """Postgres cannot be reached, or gave a statement up; another try may succeed.

    `remedy` is what a person may do about it besides, and is not in the message; often empty.
    """

    remedy = ""


class LockedByOthers(DatabaseUnavailable):
    """Another session held a lock for longer than the statement was to wait for it."""


class Deadlocked(DatabaseUnavailable):
    """Two sessions waited for each other's rows, and the transaction of this one was undone."""


class StatementCancelled(DatabaseUnavailable):
    """Postgres ended a statement that took longer than its session allows."""


class CancellationCaught(StatementCancelled):
    """A user's function caught the cancellation of a statement, so its session was ended."""


class UpkeepRefused(AppError):
    """Postgres refused a step of upkeep; the message is that of Postgres."""


class DatabaseRefused(DatabaseUnavailable):
    """Postgres refuses until an operator changes something; the message says what.

    A process that starts ends with this error; a running process goes on trying, as in an outage.
    `remedy` is the part of the message that names no host, user or database, and may be empty.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class RightMissing(DatabaseRefused):
    """The role that Tocsin connects as lacks a right; the message names it."""


class SchemaOutdated(DatabaseRefused):
    """The database's schema is not the one this version needs; the message says what to run."""


class SchemaTooNew(SchemaOutdated):
    """The database has a breaking migration that this version does not know.

    As waiting does not help, a running process ends with this error too.
    """


class PoolerInTheWay(AppError):
    """A pooler that shares sessions between clients answers at the database's address."""
