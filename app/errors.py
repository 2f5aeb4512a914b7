"""Every error we raise on purpose; the edges translate foreign errors into these."""

from msgspec import Struct


class FieldError(Struct, frozen=True, kw_only=True):
    """What is wrong with one field of the input, and what to write instead."""

    field: str
    """Where, in JSON notation: `cron`, `target.url`, `[3].name`; empty for the whole input."""
    message: str


class AppError(Exception):
    """Base of all errors raised on purpose; its message is fit for a client."""


class InvalidInput(AppError):
    """The input was understood but breaks a rule; `errors` names each field and its remedy."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(
            "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors)
        )
        self.errors = errors


class MalformedInput(AppError):
    """The input could not be read at all."""


class JobNotFound(AppError):
    """No job has this id or name."""


class ExecutionNotFound(AppError):
    """No execution has this id."""


class KeyNotFound(AppError):
    """No API key has this prefix or name."""


class KeyRequired(AppError):
    """The request came without an API key that may be used.

    `refused`: it had one, which may not.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ScopeMissing(AppError):
    """The API key that came with the request does not allow this; `scope` would."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class CrossOrigin(AppError):
    """A browser sent its session along with what no page of ours asked for."""


class KeyNameTaken(AppError):
    """Another API key in force already has this name."""


class NameTaken(AppError):
    """Another job already has this name."""


class NamesTaken(NameTaken):
    """Some names of a batch belong to other jobs; `errors` names each."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in errors))
        self.errors = errors


class SecretNotFound(AppError):
    """No named secret has this name."""


class SecretKeysMissing(AppError):
    """There is no key to encrypt with; the message says how to make one."""


class EditConflict(AppError):
    """The job was edited by somebody else since the client read it (`If-Match`)."""


class StateConflict(AppError):
    """The job's state does not allow what was asked; the message says what to do first."""


class Exposed(AppError):
    """The API would serve other machines without asking for a key."""


class InvalidSettings(AppError):
    """An environment variable has a value that cannot be used; the message names it."""


class DatabaseUnavailable(AppError):
    """Postgres cannot be reached, or gave up on a statement; trying again may help."""


class LockedByOthers(DatabaseUnavailable):
    """Somebody else holds a lock for longer than was to be waited for."""


class UpkeepRefused(AppError):
    """Postgres refused a step of the upkeep, in its own words."""


class DatabaseRefused(DatabaseUnavailable):
    """Postgres does not let us do our work until somebody changes something; the message says what.

    At the start that is the end of a process; one that runs goes on trying, as in an outage.
    """


class RightMissing(DatabaseRefused):
    """The role that Tocsin connects as may not do something; the message says what."""


class SchemaOutdated(DatabaseRefused):
    """The database's schema is not the one this version needs; the message says what to run."""


class SchemaTooNew(SchemaOutdated):
    """The database has a breaking migration that this version does not know.

    Waiting does not mend that, so a running process ends too.
    """


class PoolerInTheWay(AppError):
    """What answers at the database's address is a pooler that does not keep sessions apart."""
