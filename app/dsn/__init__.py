"""The address of the database, in the forms that libpq takes: read, completed, and shown masked."""

from app.dsn.address import Address, Host, parse
from app.dsn.environment import completed
from app.dsn.masking import HIDDEN, masked
from app.dsn.parameters import IGNORED

__all__ = ["HIDDEN", "IGNORED", "Address", "Host", "completed", "masked", "parse"]
