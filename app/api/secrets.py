"""Named secrets: set, list by name, delete. No answer has a value."""

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.params import PathParameter
from msgspec import UNSET

from app.api.body import decode_body
from app.api.parameters import Cursor, Db, Keys, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.secrets.bindings import host_error
from app.core.secrets.references import name_error
from app.db import secrets
from app.errors import FieldError, InvalidInput
from app.vault import of_secret
from app.wire.pages import SECRETS
from app.wire.secrets import NamedSecret, SecretPage, SecretValue

SecretName = Annotated[str, PathParameter(description="The name of the secret.")]


@put(
    "/{name:str}",
    operation_id="putSecret",
    summary="Set a named secret",
    opt={
        "scope": Scope.ADMIN,
        "body": SecretValue,
        "also": (201,),
        "problems": (400, 409, 413, 415, 422),
    },
)
async def put_secret(
    request: ApiRequest, db: Db, secret_keys: Keys, name: SecretName
) -> Response[NamedSecret]:
    """Targets refer to it as `${secret:NAME}`; they use a new value within five seconds.

    A job that would send it to a host that it is not bound to is refused, and fails if it exists.
    """
    if error := name_error(name):
        raise InvalidInput(FieldError(field="name", message=error))
    given = await decode_body(request, SecretValue)
    hosts = None if given.hosts is UNSET else given.hosts
    refused = [(index, host_error(host)) for index, host in enumerate(hosts or ())]
    if errors := [FieldError(field=f"hosts[{at}]", message=why) for at, why in refused if why]:
        raise InvalidInput(*errors)
    token = secret_keys.encrypt(given.value, of_secret(name))
    secret, is_new = await secrets.put(db, name, token, hosts=hosts)
    return Response(secret, status_code=201 if is_new else 200)


@get(
    "/",
    operation_id="listSecrets",
    summary="List the names of secrets",
    opt={"scope": Scope.ADMIN, "problems": (422,)},
)
async def list_secrets(db: Db, limit: Limit = 50, cursor: Cursor = None) -> SecretPage:
    """Names only."""
    page = await secrets.list_page(db, after=SECRETS.read(cursor), limit=limit)
    return SecretPage(items=page.items, next_cursor=SECRETS.after(page.items, more=page.more))


@delete(
    "/{name:str}",
    operation_id="deleteSecret",
    summary="Delete a named secret",
    opt={"scope": Scope.ADMIN, "problems": (404, 409)},
)
async def delete_secret(db: Db, name: SecretName) -> None:
    """Executions of targets that refer to it fail from then on, until it is set again."""
    await secrets.delete(db, name)
