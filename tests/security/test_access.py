"""Every call of the API refuses whoever may not make it, as its own description lists them.

A new address that is not guarded, or that nobody decided on, fails here.
"""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute

from app.api import access
from app.asgi import create_app
from app.config import Settings
from app.core.access.api_key import Scope, digest_of, granted, is_key, issue, prefix_of
from tests.support.api import LATER, serving
from tests.support.recorder import Recorder
from tests.support.waiting import until

APP = create_app(Settings(database_url="postgresql://nowhere/"))
DESCRIPTION = APP.openapi_schema
OPEN = {
    *(("GET", "/health/live"), ("GET", "/health/ready"), ("POST", "/session")),
    *(("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out")),
    ("GET", "/static/{version}/{path}"),
    *(("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/docs/openapi.json")),
    *(("GET", "/schemas/jobs.schema.json"), ("GET", "/llms.txt")),
    *(
        (method, f"/ping/{{token}}{word}")
        for method in ("GET", "POST", "PUT")
        for word in ("", "/{word}")
    ),
    *(
        ("GET", f"/docs/{name}")
        for name in ("start.js", "swagger-ui.js", "swagger-ui.css", "{path}")
    ),
}
"""What anybody may call; whatever else there is has to refuse."""
PAGES = {
    ("GET", path)
    for path in (
        *("/", "/live/{name}", "/live/jobs/{id}", "/live/lists/{of}", "/jobs", "/jobs/{job}"),
        "/live/tables/{table}",
        *("/executions", "/executions/{id}", "/upcoming"),
        *("/flows", "/calendars", "/alerts", "/instances", "/audit", "/keys"),
    )
}
"""What leads browsers that are not signed in to the page where they do that."""
ACTIONS = {
    (method, route.path_format)
    for route in APP.routes
    if isinstance(route, HTTPRoute)
    and route.path_format.startswith(("/jobs/", "/new-job", "/executions/", "/bulk"))
    for method in route.route_handler_map
    if method != "OPTIONS"
} - PAGES
"""Forms of the pages, and what these send: who is not signed in is led to the page for that."""
STREAMS = {("GET", "/v1/events")}
"""What does not end by itself; `tests/integration/test_events.py` tries it without a key."""
DESCRIBED = [
    call
    for path, item in sorted((DESCRIPTION.paths or {}).items())
    for method in ("get", "put", "post", "delete", "patch")
    if (call := (method.upper(), path)) not in OPEN and getattr(item, method) is not None
]
CALLS = [*DESCRIBED, ("GET", "/metrics")]
"""What a key is needed for; `/metrics` is described in the documentation of metrics alone."""
ADMINISTRATION = ("/v1/keys", "/v1/audit", "/v1/secrets")
READING = {("POST", "/v1/schedule/preview"), ("POST", "/v1/jobs/plan"), ("DELETE", "/session")}
ALLOWED_TO = {
    (method, path): {Scope.ADMIN}
    if path.startswith(ADMINISTRATION)
    else set(Scope)
    if method == "GET" or (method, path) in READING
    else {Scope.WRITE, Scope.ADMIN}
    for method, path in CALLS
}
NUMBERS = count(1)
"""Whoever takes the next has a name, or an address, of its own."""
together = pytest.mark.asyncio(loop_scope="module")
"""What tests have that share an API and its database, each with keys of its own."""
every_scope = pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        pytest.param(*call, scope, id=f"{' '.join(call)} with {scope}")
        for call in CALLS
        for scope in Scope
    ],
)
every_call = pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*call, id=" ".join(call)) for call in CALLS]
)


def filled(path: str) -> str:
    """Fill in what may well be there."""
    some = UUID(int=1)
    id_ = some if path.startswith(("/v1/bulk/", "/v1/alerts/", "/bulk/", "/live/")) else 1
    return path.format(
        job="report",
        id=id_,
        of="jobs",
        table="bulk",
        key="000000000000",
        name="report",
        pause=some,
        maintenance=some,
        flow_key="api",
        rule="failures",
        channel="ops",
    )


async def make(
    api: httpx.AsyncClient, scope: Scope = Scope.ADMIN, **more: object
) -> dict[str, Any]:
    """Make a key, with the one that the client has, if any."""
    body = {"name": f"{scope} {next(NUMBERS)}", "scopes": [scope]} | more
    answer = await api.post("/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def another(api: httpx.AsyncClient, address: str) -> httpx.AsyncClient:
    """Make a client of the same API at some address."""
    transport = httpx.ASGITransport(
        app=api._transport.app,  # type: ignore[attr-defined]
        raise_app_exceptions=False,
        client=(address, 50_000),
    )
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def sign_in(api: httpx.AsyncClient, key: str) -> str:
    """Begin a session with a key, and return what the cookie holds.

    That is done from one address after another, as few may be begun at one in a minute.
    """
    number = next(NUMBERS)
    async with another(api, f"198.51.{number // 256}.{number % 256}") as client:
        answer = await client.post("/session", json={"key": key})
    assert answer.status_code == 200, answer.text
    return answer.cookies["tocsin_session"]


def browser(held: str, **headers: str) -> dict[str, str]:
    """Send what a browser sends for a page of ours that has a session."""
    return {
        "Authorization": "",
        "Cookie": f"tocsin_session={held}",
        "Origin": "http://localhost",
        "Sec-Fetch-Site": "same-origin",
    } | {name.replace("_", "-"): value for name, value in headers.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def root(module_api: httpx.AsyncClient) -> str:
    """Give a key of scope admin, and so a database that has one."""
    key: str = (await make(module_api, name="root"))["key"]
    return key


@pytest_asyncio.fixture(loop_scope="module")
async def admin(module_api: httpx.AsyncClient, root: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that has a key of scope admin."""
    async with another(module_api, "127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {root}"
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def refused(
    api: httpx.AsyncClient, method: str, path: str, headers: dict[str, bytes | str] | None = None
) -> str:
    """Make a call that has to be refused for want of a key; return the challenge."""
    answer = await api.request(method, filled(path), headers=headers)
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tocsin:problem:key-required"
    return answer.headers["WWW-Authenticate"]


def test_every_address_is_one_that_refuses_or_is_known_to_be_open() -> None:
    served = {
        (method, route.path_format)
        for route in APP.routes
        if isinstance(route, HTTPRoute)
        for method in route.route_handler_map
    }

    assert {call for call in served if call[0] != "OPTIONS"} == {
        *CALLS,
        *OPEN,
        *PAGES,
        *ACTIONS,
        *STREAMS,
    }
    assert len(CALLS) >= 27
    assert not any(path.startswith("/v1/") for _, path in OPEN)


@together
@pytest.mark.parametrize(("method", "path"), sorted(PAGES | ACTIONS))
async def test_no_page_is_shown_without_a_session(
    admin: httpx.AsyncClient, method: str, path: str
) -> None:
    del admin.headers["Authorization"]
    address = filled(path)

    for headers in ({}, browser("0" * 64), bearer("nonsense")):
        answer = await admin.request(method, address, headers=headers)
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/sign-in")
        assert answer.content == b""


@together
@every_call
async def test_no_key(admin: httpx.AsyncClient, method: str, path: str) -> None:
    del admin.headers["Authorization"]

    assert await refused(admin, method, path) == 'Bearer realm="tocsin"'


@together
@every_call
async def test_a_wrong_key(admin: httpx.AsyncClient, method: str, path: str) -> None:
    right = admin.headers["Authorization"].removeprefix("Bearer ")
    other_secret = right[:-1] + ("0" if right[-1] != "0" else "1")
    other_prefix = issue(bytes(38)).key

    for key in (other_secret, other_prefix, "tocsin", "", "é"):
        headers = {"Authorization": f"Bearer {key}".encode("latin-1")}
        challenge = await refused(admin, method, path, headers=headers)
        assert challenge == 'Bearer realm="tocsin", error="invalid_token"'


@together
@every_call
async def test_an_expired_key(
    admin: httpx.AsyncClient, module_connection: asyncpg.Connection, method: str, path: str
) -> None:
    expired = await make(admin, expires_in_seconds=3600)
    await module_connection.execute(
        "update tocsin.api_keys set expires_at = now() where prefix = $1", expired["prefix"]
    )

    assert "invalid_token" in await refused(admin, method, path, headers=bearer(expired["key"]))


@together
@every_call
async def test_a_revoked_key(admin: httpx.AsyncClient, method: str, path: str) -> None:
    revoked = await make(admin)
    assert (await admin.get("/v1/jobs", headers=bearer(revoked["key"]))).status_code == 200
    assert (await admin.delete(f"/v1/keys/{revoked['prefix']}")).status_code == 204

    assert "invalid_token" in await refused(admin, method, path, headers=bearer(revoked["key"]))


@together
@every_call
async def test_a_session_that_is_none_or_over(
    admin: httpx.AsyncClient, module_connection: asyncpg.Connection, method: str, path: str
) -> None:
    key = await make(admin)
    over, out, expired, revoked = [await sign_in(admin, key["key"]) for _ in range(4)]
    await module_connection.execute(
        "update tocsin.sessions set expires_at = now() where digest = $1", digest_of(over)
    )
    assert (await admin.delete("/session", headers=browser(out))).status_code == 204
    await module_connection.execute(
        "update tocsin.api_keys set expires_at = now() where prefix = $1", key["prefix"]
    )
    admin._transport.app.state.key_ring.forget()  # type: ignore[attr-defined]

    for held in (over, out, expired, "0" * 64):
        challenge = await refused(admin, method, path, headers=browser(held))
        assert challenge == 'Bearer realm="tocsin", error="invalid_token"'
    for held in ("", "0" * 63, key["key"]):
        assert await refused(admin, method, path, headers=browser(held)) == 'Bearer realm="tocsin"'

    await module_connection.execute(
        "update tocsin.api_keys set expires_at = null where prefix = $1", key["prefix"]
    )
    admin._transport.app.state.key_ring.forget()  # type: ignore[attr-defined]
    assert (await admin.get("/v1/jobs", headers=browser(revoked))).status_code == 200
    assert (await admin.delete(f"/v1/keys/{key['prefix']}")).status_code == 204
    assert "invalid_token" in await refused(admin, method, path, headers=browser(revoked))


@together
@every_scope
async def test_a_session_does_what_the_scope_of_its_key_allows_and_no_more(
    admin: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    held = await sign_in(admin, (await make(admin, scope))["key"])

    answer = await admin.request(method, filled(path), headers=browser(held))

    allowed = scope in ALLOWED_TO[method, path]
    assert answer.status_code in ({200, 201, 204, 400, 404, 422} if allowed else {403})
    assert ("scope-missing" in answer.text) is not allowed


@together
@pytest.mark.parametrize(
    ("method", "path"),
    [pytest.param(*call, id=" ".join(call)) for call in CALLS if call[0] != "GET"],
)
async def test_a_session_changes_nothing_for_a_page_of_elsewhere(
    admin: httpx.AsyncClient, method: str, path: str
) -> None:
    held = await sign_in(admin, (await make(admin))["key"])

    for elsewhere in (
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://localhost:3000"},
        {"Sec_Fetch_Site": "none", "Origin": "http://localhost"},
        {"Sec_Fetch_Site": "", "Origin": "http://localhost:3000"},
        {"Sec_Fetch_Site": "", "Origin": "null"},
        {"Sec_Fetch_Site": "", "Origin": ""},
    ):
        answer = await admin.request(method, filled(path), headers=browser(held, **elsewhere))
        assert answer.status_code == 403, elsewhere
        assert answer.json()["type"] == "urn:tocsin:problem:cross-origin"


@together
@every_scope
async def test_a_key_does_what_its_scope_allows_and_no_more(
    admin: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    key = await make(admin, scope)

    answer = await admin.request(method, filled(path), headers=bearer(key["key"]))

    allowed = scope in ALLOWED_TO[method, path]
    assert answer.status_code in ({200, 201, 204, 400, 404, 422} if allowed else {403})
    assert ("scope-missing" in answer.text) is not allowed
    assert ("WWW-Authenticate" in answer.headers) is not allowed


async def test_every_call_says_which_scope_it_needs(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()

    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for method, path in DESCRIBED:
        operation = document["paths"][path][method.lower()]
        key, session = operation["security"]
        [scope] = key["key"]
        assert scope in set(Scope)
        assert session == {"session": [scope]}
        assert {"401", "403"} <= operation["responses"].keys()


@together
@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/openapi.json"]
)
async def test_what_is_no_secret_needs_no_key(admin: httpx.AsyncClient, path: str) -> None:
    del admin.headers["Authorization"]

    assert (await admin.get(path)).status_code == 200


async def test_without_any_key_this_machine_is_served(api: httpx.AsyncClient) -> None:
    assert (await api.post("/v1/jobs", json=LATER)).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "rebound.example"}, id="a name that was made to lead here"),
        pytest.param({"Host": "rebound.example:80@localhost"}, id="a name in disguise"),
        pytest.param({"Host": ""}, id="no name"),
        pytest.param({"Host": "[::1"}, id="half an address"),
        pytest.param({"Origin": "https://evil.example"}, id="a page of elsewhere"),
        pytest.param({"Origin": "http://localhost:3000"}, id="a page of another program here"),
        pytest.param({"Origin": "null"}, id="a page of nowhere"),
        pytest.param({"X-Forwarded-For": "192.0.2.7"}, id="a proxy"),
        pytest.param({"Forwarded": "for=192.0.2.7"}, id="a modern proxy"),
        pytest.param({"Via": "1.1 proxy"}, id="a polite proxy"),
        pytest.param({"X-Forwarded-Proto": "https"}, id="a proxy with TLS"),
        pytest.param({"CF-Connecting-IP": "192.0.2.7"}, id="a network of proxies"),
        pytest.param({"True-Client-IP": "192.0.2.7"}, id="another network of proxies"),
        pytest.param({"x_real_ip": "192.0.2.7"}, id="a proxy with underscores"),
    ],
)
async def test_without_any_key_no_web_page_and_no_proxy_is_served(
    api: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await api.post("/v1/jobs", json=LATER, headers=headers)

    assert answer.status_code == 401
    assert "tocsin keys create" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080"])
async def test_our_own_page_is_served_without_any_key(api: httpx.AsyncClient, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}

    assert (await api.get("/v1/jobs", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "client"),
    [("127.0.0.1", "192.0.2.7"), ("0.0.0.0", "127.0.0.1")],  # noqa: S104 - that is the point
)
async def test_without_any_key_nobody_else_is_served(
    database_url: str, faults: Recorder, host: str, client: str
) -> None:
    async with serving(database_url, faults, client=client, host=host) as api:
        answer = await api.get("/v1/jobs")

    assert answer.status_code == 401


async def test_once_there_was_a_key_none_is_no_longer_enough(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    bearing = bearer((await make(api))["key"])
    await connection.execute("update tocsin.api_keys set revoked_at = now()")

    async def locked() -> bool:
        return (await api.get("/v1/jobs", headers=bearing)).status_code == 401

    await until(locked, "the revoked key counts no more")
    assert (await api.get("/v1/jobs")).status_code == 401


async def test_a_key_made_in_one_process_counts_in_another_within_seconds(
    api: httpx.AsyncClient, database_url: str, faults: Recorder
) -> None:
    async with serving(database_url, faults) as other:
        assert (await other.get("/v1/jobs")).status_code == 200
        key = await make(api)

        async def closed() -> bool:
            return (await other.get("/v1/jobs")).status_code == 401

        await until(closed, "the other process asks for a key")
        assert (await other.get("/v1/jobs", headers=bearer(key["key"]))).status_code == 200


def test_a_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    key = issue(bytes(range(38)))
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(given: bytes, kept: bytes) -> bool:
        compared.append((given, kept))
        return given == kept

    monkeypatch.setattr("app.core.access.api_key.compare_digest", compare_digest)
    assert is_key(key.key, key.digest)
    assert not is_key(key.key + "0", key.digest)
    assert [kept for _, kept in compared] == [key.digest] * 2


async def test_an_unknown_prefix_is_compared_as_well(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def is_key(_given: str, digest: bytes) -> bool:
        compared.append(digest)
        return False

    monkeypatch.setattr(access, "is_key", is_key)

    await api.get("/v1/jobs", headers=bearer("tocsin_000000000000_" + "0" * 64))
    await api.get("/v1/jobs", headers=bearer("nonsense"))

    assert compared == [bytes(32)] * 2


def test_a_key_is_256_random_bits_behind_a_prefix_that_may_be_shown() -> None:
    random = bytes(range(38))

    key = issue(random)

    assert key.key == f"tocsin_{random[:6].hex()}_{random[6:].hex()}"
    assert prefix_of(key.key) == key.prefix == random[:6].hex()
    assert key.digest == digest_of(key.key)
    assert key.key not in repr(key)


@pytest.mark.parametrize(
    ("scopes", "included"),
    [
        ([Scope.READ], {Scope.READ}),
        ([Scope.WRITE], {Scope.READ, Scope.WRITE}),
        ([Scope.ADMIN], set(Scope)),
        ([Scope.READ, Scope.ADMIN], set(Scope)),
        ([], set()),
    ],
)
def test_each_scope_includes_those_before_it(scopes: list[Scope], included: set[Scope]) -> None:
    assert granted(scopes) == included
