"""/llms.txt: what a language model needs to know of the API, made of the API's own description."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from litestar import MediaType, get

from app.api.openapi import description, once
from app.api.problems import ApiRequest
from app.wire.examples import NIGHTLY

ABOUT = """\
# Tocsin

> A job scheduler on Postgres. A job says what to call (`kind`, `target`) and when: exactly one of
> `run_at`, `run_in_seconds`, `cron` (with `timezone`) and `every_seconds`. Tocsin calls it on time,
> retries, and keeps each execution on record.

- Below `/v1`, in JSON. Instants are RFC 3339, durations seconds; unknown fields are refused.
- Send a key: `Authorization: Bearer tocsin_…`. Each call below names the scope that it needs.
- Errors are `application/problem+json`; `errors` has each `field` and a `message` with the remedy.
- A POST with `Idempotency-Key: UUID` may be sent again; every write takes `?dry_run=true`.
- Lists have `items` and `next_cursor`: send that as `cursor` for the next page.
- Every schema and all parameters: [openapi.json](/openapi.json). As tools: `tocsin mcp`.

To create a job, and see when it runs, the schedule in words, and whether an instance can run it:

```http
POST /v1/jobs?outlook=true
"""


def llms_text(document: Mapping[str, Any]) -> str:
    """Write the page of this description of the API."""
    return "\n".join([ABOUT + json.dumps(NIGHTLY, indent=2), "```", *sections(document), ""])


def sections(document: Mapping[str, Any]) -> Iterator[str]:
    """List the operations by tag."""
    operations = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    for tag in document["tags"]:
        yield from ("", f"## {tag['name']}", "", tag["description"], "")
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                security = operation.get("security")
                scope = f" ({security[0]['key'][0]})" if security else ""
                yield f"- `{method} {path}`{scope}: {operation['summary']}"


@get("/llms.txt", include_in_schema=False, media_type=MediaType.TEXT)
async def llms(request: ApiRequest) -> bytes:
    """What a language model needs to know."""
    return once(request.app, "llms", lambda: llms_text(description(request.app)).encode())
