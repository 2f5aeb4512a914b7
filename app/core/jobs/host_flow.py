"""The flow of the host that a job is sent to, for databases that put jobs into these."""

import re
from collections.abc import Mapping
from typing import Any

HOST = re.compile(r"[a-zA-Z]+://(?:[^/?#@]*@)?([a-zA-Z0-9._-]{1,190})(?:[:/?#]|\Z)")

PREFIX = "host:"
"""How such flows begin."""


def host_flow(kind: str, target: Mapping[str, Any]) -> str | None:
    """Return the flow of the host of a target, as `tocsin.host_flow` does in SQL.

    None where the kind is another than http, or the host is an IPv6 address, has letters beyond
    ASCII, or comes from a template.
    """
    url = target.get("url")
    found = HOST.match(url) if kind == "http" and isinstance(url, str) else None
    return f"{PREFIX}{found[1].lower()}" if found else None


def asked(given: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a job as they were asked for: without a flow that the database derives.

    Such a flow may have been asked for by its name all the same: who writes the job keeps it.
    """
    key: str | None = given["flow_key"]
    if key and key.startswith(PREFIX) and key == host_flow(given["kind"], given["target"]):
        return given | {"flow_key": None}
    return given
