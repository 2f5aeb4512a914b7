"""API keys: make, list, revoke."""

import secrets
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.datastructures import State
from litestar.params import PathParameter
from msgspec.structs import asdict

from app.api.body import decode_body
from app.api.parameters import Cursor, Db, Limit
from app.api.problems import ApiRequest
from app.api.responses import LOCATION
from app.core.access.api_key import RANDOM_BYTES, Scope, issue
from app.db import keys
from app.wire.keys import ApiKey, KeyPage, KeyRequest, NewKey, limits_of
from app.wire.pages import KEYS

KeyReference = Annotated[str, PathParameter(description="The prefix or the name of a key.")]


@post(
    "/",
    operation_id="createKey",
    summary="Make an API key",
    response_headers=[LOCATION],
    opt={
        "scope": Scope.ADMIN,
        "body": KeyRequest,
        "problems": (400, 409, 413, 415, 422),
        "secret_answer": True,
    },
)
async def create_key(request: ApiRequest, db: Db, state: State) -> Response[NewKey]:
    """Once there is a key, every request needs one. A limit is the key's for good; null: none."""
    given = await decode_body(request, KeyRequest)
    key = issue(secrets.token_bytes(RANDOM_BYTES))
    stored = await keys.create(
        db,
        key,
        name=given.name,
        scopes=given.scopes,
        expires_in_seconds=given.expires_in_seconds,
        limits=limits_of(given),
    )
    state.key_ring.forget()
    return Response(
        NewKey(**asdict(stored), key=key.key),
        status_code=201,
        headers={"Location": f"/v1/keys/{stored.prefix}"},
    )


@get(
    "/", operation_id="listKeys", summary="List API keys, newest first", opt={"scope": Scope.ADMIN}
)
async def list_keys(db: Db, limit: Limit = 50, cursor: Cursor = None) -> KeyPage:
    """Keys that expired or were revoked are listed as well."""
    page = await keys.list_page(db, before=KEYS.read(cursor), limit=limit)
    return KeyPage(items=page.items, next_cursor=KEYS.after(page.items, more=page.more))


@get(
    "/{key:str}",
    operation_id="getKey",
    summary="Read what is known of an API key",
    opt={"scope": Scope.ADMIN, "problems": (404,)},
)
async def get_key(db: Db, key: KeyReference) -> ApiKey:
    """A key is found by its prefix even after it is revoked."""
    return await keys.find(db, key)


@delete(
    "/{key:str}",
    operation_id="revokeKey",
    summary="Revoke an API key",
    opt={"scope": Scope.ADMIN, "problems": (404, 409)},
)
async def revoke_key(db: Db, key: KeyReference, state: State) -> None:
    """No process accepts it any more within a few seconds. Idempotent, by its prefix."""
    await keys.revoke(db, await keys.find(db, key))
    state.key_ring.forget()
