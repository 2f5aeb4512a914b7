"""Named secrets: set, list by name, delete. Nobody is told a value."""

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.params import PathParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.body import decode_body
from app.api.paging import secret_after, secret_cursor
from app.api.parameters import Cursor, Db, Keys, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.net.egress import MAX_HOST_LENGTH
from app.core.secrets.bindings import MAX_HOSTS, host_error
from app.core.secrets.masking import SECRET, Masked
from app.core.secrets.references import MAX_VALUE_LENGTH, name_error
from app.db import secrets
from app.db.secrets import NamedSecret
from app.errors import FieldError, InvalidInput
from app.vault import of_secret

SecretName = Annotated[str, PathParameter(description="The name of the secret.")]


class SecretValue(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to keep."""

    value: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_VALUE_LENGTH,
            description="Stored encrypted, and never told again.",
        ),
        SECRET,
    ]
    hosts: (
        Annotated[
            list[Annotated[str, Meta(max_length=MAX_HOST_LENGTH)]],
            Meta(
                max_length=MAX_HOSTS,
                description="Where it may be sent, such as api.example.com, *.example.com and "
                "https://api.example.com:8443. "
                "None: anywhere. Left out: as before, and a new secret may be sent anywhere.",
            ),
        ]
        | UnsetType
    ) = UNSET


class SecretPage(Struct, frozen=True, kw_only=True):
    """Secrets, by name."""

    items: list[NamedSecret]
    next_cursor: str | None


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
    found = await secrets.list_page(db, after=secret_after(cursor), limit=limit + 1)
    page = found[:limit]
    return SecretPage(
        items=page, next_cursor=secret_cursor(page[-1].name) if len(found) > limit else None
    )


@delete(
    "/{name:str}",
    operation_id="deleteSecret",
    summary="Delete a named secret",
    opt={"scope": Scope.ADMIN, "problems": (404,)},
)
async def delete_secret(db: Db, name: SecretName) -> None:
    """Executions of targets that refer to it fail from then on, until it is set again."""
    await secrets.delete(db, name)
