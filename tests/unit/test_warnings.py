"""The warnings of the dashboard, which whoever may read sees."""

from typing import Any

from app.db.database import Database, Row
from app.errors import DatabaseUnavailable
from app.web.warnings import read_warnings


class Gone(Database):
    """A database that does not answer."""

    def __init__(self) -> None:
        pass

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:  # noqa: ANN401
        message = f"Postgres is not available: no answer from db-7 to {name} {parameters}"
        raise DatabaseUnavailable(message)


async def test_what_hinders_every_look_is_told_once_and_names_no_host() -> None:
    [told] = await read_warnings(Gone(), retention_days=30)

    assert told.subject == "looking"
    assert "db-7" not in told.found
