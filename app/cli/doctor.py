"""`tocsin doctor`: looks at everything an operator would, and says what to do."""

import sys
from datetime import UTC, datetime

import click
from msgspec import convert

from app.config import Settings
from app.core.health import Vitals, findings, key_finding
from app.db import Database, migrate
from app.db.pooler import refuse_shared_sessions
from app.vault import SecretKeys
from app.vault.fitness import of_named, of_targets


async def examine(settings: Settings) -> None:
    """Print what was found; exit with 1 if anything needs a remedy.

    Raises:
        DatabaseUnavailable: there is no connection; all else would be guessed.
        SchemaOutdated: the schema is not the one this version needs.
        PoolerInTheWay: that is not Postgres itself, and what is there does not do instead.
    """
    url = settings.required_database_url()
    await refuse_shared_sessions(url)
    async with Database.connect(url, application_name="tocsin doctor") as db:
        await migrate.check(db)
        [row] = await db.fetch("doctor.vitals")
        keys = SecretKeys(settings.secret_keys)
        named, targets = await of_named(db, keys), await of_targets(db, keys)
    troubled = False
    for one in (
        *findings(convert(row, Vitals), host_now=datetime.now(UTC)),
        key_finding(named.looked_at + targets.looked_at, named.unopened + targets.unopened),
    ):
        troubled = troubled or bool(one.remedy)
        click.echo(f"{'!!' if one.remedy else 'ok'}  {one.subject:<18} {one.found}")
        if one.remedy:
            click.echo(f"    {'':<18} {one.remedy}")
    if troubled:
        sys.exit(1)
