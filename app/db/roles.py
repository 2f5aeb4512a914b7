"""Makes the roles of Tocsin, and grants them what they need in one database."""

from functools import partial
from importlib.resources import files

import asyncpg

from app.db.connecting import connect
from app.db.errors import translate_errors
from app.errors import RightMissing

ROLES = ("tocsin_instance", "tocsin_api", "tocsin_writer", "tocsin_reader")


def script() -> str:
    """Return `roles.sql`, which psql takes as well."""
    return (files("db") / "roles.sql").read_text("utf-8")


async def make(url: str) -> list[str]:
    """Make the roles and grant, all or nothing; return what Postgres warned of.

    Raises:
        RightMissing: the role of `url` may not create roles or grant; the message is Postgres's.
        AppError: see `app.db.errors.translate_errors`.
    """
    warnings: list[str] = []
    with translate_errors():
        connection = await connect(url)
        try:
            connection.add_log_listener(partial(note, warnings))
            async with connection.transaction():
                await connection.execute(script())
        except asyncpg.InsufficientPrivilegeError as error:
            message = (
                f"{error.args[0]}: run `tocsin roles` as the owner of the tables, who may create "
                f"roles, or have an administrator create {', '.join(ROLES)} before"
            )
            raise RightMissing(message) from error
        finally:
            await connection.close()
    return warnings


def note(warnings: list[str], _: object, said: asyncpg.PostgresLogMessage) -> None:
    """Note a message of Postgres, unless it is a mere notice."""
    if said.severity_en == "WARNING":
        warnings.append(said.message)
