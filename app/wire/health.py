"""The answer to probes."""

from msgspec import Struct


class Health(Struct, frozen=True, kw_only=True):
    """The process is well."""

    status: str = "ok"
