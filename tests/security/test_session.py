"""Sessions of browsers: what the cookie is, what signing in and out does, who may ask for it."""

import asyncpg
import httpx
import pytest

from app.api import rate_limit
from app.api.headers import HEADERS
from app.api.proxies import behind, trusted_proxies
from app.asgi import create_app
from app.config import Settings
from app.core.access.session import SESSION_SECONDS, digest_of, is_from_own_page, issue
from tests.support.api import LATER, serving
from tests.support.recorder import Recorder

TLS = "https://localhost"
OURS = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


async def made(api: httpx.AsyncClient, scope: str = "admin", **more: object) -> str:
    """Make a key and return it."""
    answer = await api.post("/v1/keys", json={"name": f"of {scope}", "scopes": [scope], **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


@pytest.fixture
async def key(api: httpx.AsyncClient) -> str:
    return await made(api)


def attributes(answer: httpx.Response) -> set[str]:
    """List what the one cookie of an answer has besides its value."""
    [cookie] = answer.headers.get_list("Set-Cookie")
    return {part.strip() for part in cookie.split(";")[1:]}


async def test_a_browser_signs_in_works_and_signs_out(api: httpx.AsyncClient, key: str) -> None:
    signed_in = await api.post("/session", json={"key": key}, headers=OURS)
    seen = await api.get("/session")
    written = await api.post("/v1/jobs", json=LATER, headers=OURS)
    held = api.cookies["tocsin_session"]
    out = await api.delete("/session", headers=OURS)
    after = await api.get("/session")
    again = await api.get("/session", headers={"Cookie": f"tocsin_session={held}"})

    assert signed_in.status_code == seen.status_code == 200
    assert signed_in.json() == seen.json()
    assert seen.json()["scopes"] == ["read", "write", "admin"]
    assert seen.json()["expires_at"] is not None
    assert (written.status_code, out.status_code) == (201, 204)
    assert after.status_code == again.status_code == 401


async def test_the_audit_log_names_the_key_that_the_session_was_made_with(
    api: httpx.AsyncClient, key: str, connection: asyncpg.Connection
) -> None:
    await api.post("/session", json={"key": key})
    job = await api.post("/v1/jobs", json=LATER, headers=OURS)
    await api.post(f"{job.headers['Location']}/pause", headers=OURS)

    actor = await connection.fetchval(
        "select actor from tocsin.audit_log where entity = 'job' order by id desc limit 1"
    )
    assert actor == f"key {key.split('_')[1]} (of admin)"


async def test_no_script_and_no_other_site_gets_the_cookie(
    api: httpx.AsyncClient, key: str
) -> None:
    answer = await api.post("/session", json={"key": key})

    kept = {"HttpOnly", "Path=/", "SameSite=strict", f"Max-Age={SESSION_SECONDS}"}
    assert attributes(answer) == kept
    assert answer.headers["Cache-Control"] == "no-store"


async def test_behind_tls_the_cookie_is_of_this_host_and_for_tls_only(
    api: httpx.AsyncClient, key: str
) -> None:
    answer = await api.post(f"{TLS}/session", json={"key": key})
    [cookie] = answer.headers.get_list("Set-Cookie")
    held = cookie.partition(";")[0].partition("=")[2]
    api.cookies.clear()

    assert cookie.startswith("__Host-tocsin_session=")
    assert "Secure" in attributes(answer)
    assert not any(one.startswith("Domain") for one in attributes(answer))
    for name, status in (("__Host-tocsin_session", 200), ("tocsin_session", 401)):
        seen = await api.get(f"{TLS}/session", headers={"Cookie": f"{name}={held}"})
        assert seen.status_code == status
        assert "Strict-Transport-Security" in seen.headers


async def test_the_cookie_holds_nothing_of_the_key_and_the_database_nothing_of_the_cookie(
    api: httpx.AsyncClient, key: str, connection: asyncpg.Connection
) -> None:
    answer = await api.post("/session", json={"key": key})
    held = answer.cookies["tocsin_session"]
    [row] = await connection.fetch("select * from tocsin.sessions")

    assert len(held) == 64
    assert not any(part in held for part in key.split("_"))
    assert row["digest"] == digest_of(held)
    assert held not in repr(dict(row))
    assert held not in answer.text
    assert key not in answer.text
    assert held not in repr(issue(bytes.fromhex(held)))


async def test_a_session_ends_within_half_a_day_and_not_after_its_key(
    api: httpx.AsyncClient, key: str, connection: asyncpg.Connection
) -> None:
    api.headers["Authorization"] = f"Bearer {key}"
    short = await made(api, "read", expires_in_seconds=60)
    for one in (key, short):
        assert (await api.post("/session", json={"key": one})).status_code == 200

    lives = await connection.fetch(
        "select extract(epoch from expires_at - now())::float8 as s from tocsin.sessions order by 1"
    )
    assert 0 < lives[0]["s"] <= 60
    assert 60 < lives[1]["s"] <= SESSION_SECONDS


async def test_a_key_has_so_many_sessions_and_what_is_over_is_swept(
    api: httpx.AsyncClient,
    key: str,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.db.sessions.MAX_OF_A_KEY", 3)
    for _ in range(5):
        last = await api.post("/session", json={"key": key})
    assert await connection.fetchval("select count(*) from tocsin.sessions") == 3
    assert (await api.get("/session")).status_code == 200
    await connection.execute("update tocsin.sessions set expires_at = now()")

    await api.post("/session", json={"key": key})

    assert last.status_code == 200
    assert await connection.fetchval("select count(*) from tocsin.sessions") == 1


@pytest.mark.parametrize("given", ["", "tocsin", "tocsin_000000000000_" + "0" * 64, "é", "0" * 200])
async def test_a_wrong_key_begins_no_session(api: httpx.AsyncClient, key: str, given: str) -> None:
    answer = await api.post("/session", json={"key": given})

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:tocsin:problem:key-required"
    assert "Set-Cookie" not in answer.headers
    assert key not in answer.text


async def test_guessing_is_slowed_down_before_the_key_is_looked_at(
    api: httpx.AsyncClient, key: str, database_url: str, faults: Recorder
) -> None:
    codes = [(await api.post("/session", json={"key": "x"})).status_code for _ in range(30)]
    right = await api.post("/session", json={"key": key})
    async with serving(database_url, faults, client="192.0.2.7") as other:
        elsewhere = await other.post("/session", json={"key": key})

    assert codes == [401] * 30
    assert right.status_code == 429
    assert 0 < int(right.headers["Retry-After"]) <= 60
    assert elsewhere.status_code == 200
    assert (
        await api.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    ).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "expected"), [((), [401] * 30 + [429] * 3), (("127.0.0.1",), [401] * 33)]
)
async def test_no_header_makes_another_client_of_one(
    database_url: str, proxies: tuple[str, ...], expected: list[int]
) -> None:
    settings = Settings(database_url=database_url, trusted_proxies=proxies)
    app = create_app(settings)
    transport = httpx.ASGITransport(app=behind(app, trusted_proxies(settings)))  # type: ignore[arg-type] # the same ASGI
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        codes = [
            (
                await api.post(
                    "/session",
                    json={"key": "x"},
                    headers={"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"{number}"},
                )
            ).status_code
            for number in range(33)
        ]

    assert codes == expected


async def test_callers_beyond_those_that_are_counted_share_one_count(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_COUNTED", 3)
    transport = api._transport
    codes = []
    for number in range(36):
        transport.client = (f"198.51.100.{number}", 1)  # type: ignore[attr-defined] # of httpx
        codes.append((await api.post("/session", json={"key": "x"})).status_code)

    assert codes == [401] * 33 + [429] * 3


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_no_page_of_elsewhere_signs_a_browser_in(
    api: httpx.AsyncClient, key: str, site: str
) -> None:
    answer = await api.post("/session", json={"key": key}, headers={"Sec-Fetch-Site": site})

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


async def test_a_key_in_the_header_goes_before_a_cookie(api: httpx.AsyncClient, key: str) -> None:
    await api.post("/session", json={"key": key})
    bearer = {"Authorization": f"Bearer {await made_reading(api, key)}"}

    seen = await api.get("/session", headers=bearer)
    written = await api.post("/v1/jobs", json=LATER, headers={**bearer, **OURS})

    assert (seen.json()["scopes"], seen.json()["expires_at"]) == (["read"], None)
    assert written.status_code == 403


async def made_reading(api: httpx.AsyncClient, key: str) -> str:
    api.headers["Authorization"] = f"Bearer {key}"
    made_key = await made(api, "read")
    del api.headers["Authorization"]
    return made_key


async def test_without_any_key_an_old_cookie_does_no_harm(api: httpx.AsyncClient) -> None:
    answer = await api.get("/session", headers={"Cookie": f"tocsin_session={'0' * 64}"})

    assert answer.status_code == 200
    assert answer.json()["actor"] == "loopback"


async def test_every_answer_about_sessions_has_the_headers(
    api: httpx.AsyncClient, key: str
) -> None:
    answers = [
        await api.post("/session", json={"key": "x"}),
        await api.get("/session"),
        await api.post("/session", json={"key": key}),
        await api.delete("/session", headers=OURS),
        await api.options("/session"),
        await api.put("/session"),
    ]

    assert [one.status_code for one in answers] == [401, 401, 200, 204, 204, 405]
    for one in answers:
        assert {name: one.headers[name] for name in HEADERS} == HEADERS
        assert "Access-Control-Allow-Origin" not in one.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy", "host": "here"},
        {"origin": "https://here:8443", "host": "here:8443"},
    ],
)
def test_a_page_of_ours_is_told_by_what_no_page_can_set(headers: dict[str, str]) -> None:
    assert is_from_own_page(headers, scheme="https")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://here", "host": "here"},
        {"origin": "http://here", "host": "here"},
        {"origin": "https://here", "host": "here:8443"},
        {"origin": "https://", "host": ""},
        {"origin": "null", "host": "here"},
        {"host": "here"},
        {},
    ],
)
def test_every_other_page_is_told_apart(headers: dict[str, str]) -> None:
    assert not is_from_own_page(headers, scheme="https")
