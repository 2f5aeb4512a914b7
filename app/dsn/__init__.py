"""The address of the database in all forms that libpq accepts: parsing, completion, masking."""

from app.dsn.address import Address, Host, parse
from app.dsn.environment import complete
from app.dsn.masking import HIDDEN, masked
from app.dsn.parameters import IGNORED

__all__ = ["HIDDEN", "IGNORED", "Address", "Host", "complete", "masked", "parse"]
