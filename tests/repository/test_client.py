"""The client for Python: that it has all of the API, and what it decides without a connection."""

import inspect
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import get_type_hints
from uuid import UUID

import pytest
from litestar.routes import HTTPRoute
from msgspec import UNSET
from tocsin import (
    Conflict,
    Denied,
    Edited,
    Failed,
    Invalid,
    NotConnected,
    NotFound,
    RateLimited,
    Refused,
    Tocsin,
    TocsinError,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    answers,
    operations,
)
from tocsin.answers import CheckAddress, Job, NewKey
from tocsin.calls import Call, ready, written
from tocsin.errors import refusal
from tocsin.namespaces import Calls, Does, Lists, Namespace
from tocsin.schedule import schedule
from tocsin.settings import settings_for
from tocsin.unshown import Unshown

from app.asgi import create_app
from app.config import Settings as ServerSettings
from clients.python.generate import OUTSIDE, PLACE, generated
from tests.repository.test_repository import PROJECT, ROOT

READ = operations.get_job("nightly")
WRITE = ready(operations.pause_job("nightly"), has_key=True)
UNKEYED = operations.pause_job("nightly", idempotency_key=None)
EDIT = operations.patch_job("nightly", timeout_seconds=60)
PUT = operations.put_job("nightly", kind="http", target={})
PUT_IF = operations.put_job("nightly", kind="http", target={}, if_match='"1"')
SOON = schedule("soon", timedelta(seconds=5), post="https://example.com")
LOST, APART, AWAY = Unreachable("?"), NotConnected("?"), b'{"type":"","title":"","detail":""'


def refused(status: int, *, kind: str = "", **headers: str) -> TocsinError:
    problem = b'{"type":"urn:tocsin:problem:%s","title":"","status":%d,"detail":"no"}'
    return refusal(status, headers, problem % (kind.encode(), status), url="http://x")


def test_what_is_generated_is_what_the_api_declares() -> None:
    for name, text in generated().items():
        assert (PLACE / name).read_text("utf-8") == text, f"{name} is not fresh: make client"


def test_every_operation_of_the_api_is_a_call_of_the_client() -> None:
    app = create_app(ServerSettings(database_url="postgres://nobody@127.0.0.1/nowhere"))
    ids = {
        str(handler.operation_id)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.operation_id and handler.include_in_schema
    }
    made = {
        function
        for name, function in inspect.getmembers(operations, inspect.isfunction)
        if function.__module__ == operations.__name__
    }
    client = Tocsin("http://127.0.0.1:1")
    namespaces = [client, *(one for one in vars(client).values() if isinstance(one, Namespace))]
    reached = {
        one.function
        for namespace in namespaces
        for kind in type(namespace).__mro__
        for one in vars(kind).values()
        if isinstance(one, (Does, Lists))
    }

    names = {"".join(word for word in one.__name__.split("_")) for one in made}
    assert {one.lower() for one in ids - OUTSIDE} <= names
    assert made <= reached
    assert reached - made == {schedule}
    assert issubclass(type(client), Calls)


@pytest.mark.parametrize("module", ["tocsin", "tocsin.receiver"])
def test_importing_the_client_imports_no_server_and_nothing_that_is_slow(module: str) -> None:
    program = f"import sys, {module}; print(*{{one.split('.')[0] for one in sys.modules}})"

    done = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(PLACE.parent)},
        capture_output=True,
        check=True,
        text=True,
    )

    loaded = {*done.stdout.split()} - sys.stdlib_module_names - {"__main__"}
    theirs = {one for one in loaded if not one.startswith(("_", "sitecustomize"))}
    assert theirs <= {"tocsin", "msgspec", "typing_extensions"}
    assert not {"asyncio", "ssl"} & {*done.stdout.split()}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("python/pyproject.toml", 'version = "{}"'),
        ("typescript/package.json", '"version": "{}"'),
        ("typescript/package-lock.json", '"version": "{}"'),
    ],
)
def test_the_clients_are_of_the_version_of_the_server(file: str, said: str) -> None:
    text = (ROOT / "clients" / file).read_text("utf-8")

    assert said.format(PROJECT["project"]["version"]) in text


@pytest.mark.parametrize(
    ("call", "error", "again"),
    [
        pytest.param(READ, LOST, True, id="a read that got no answer"),
        pytest.param(WRITE, LOST, True, id="a write with a key that got no answer"),
        pytest.param(UNKEYED, LOST, False, id="a write without a key that got no answer"),
        pytest.param(UNKEYED, APART, True, id="a write that was not sent"),
        pytest.param(EDIT, LOST, False, id="an edit that got no answer"),
        pytest.param(EDIT, refused(503), False, id="an edit that may have been made"),
        pytest.param(
            EDIT, refused(429, **{"retry-after": "7"}), 7.0, id="an edit that came too soon"
        ),
        pytest.param(PUT, LOST, True, id="a replacement that got no answer"),
        pytest.param(PUT_IF, LOST, False, id="a replacement of one version that got no answer"),
        pytest.param(SOON, LOST, False, id="a run so long from now that got no answer"),
        pytest.param(SOON, APART, True, id="a run so long from now that was not sent"),
        pytest.param(
            READ, refused(503, **{"retry-after": "1"}), 1.0, id="a read of a database away"
        ),
        pytest.param(
            READ, refused(429, **{"retry-after": "31"}), False, id="a wait that is too long"
        ),
        pytest.param(READ, refused(500), False, id="a bug"),
        pytest.param(READ, refused(404), False, id="nothing there"),
        pytest.param(READ, UnexpectedAnswer("?"), False, id="somebody else"),
        pytest.param(WRITE, refused(409), False, id="a name that is taken"),
        pytest.param(WRITE, refused(409, kind="request-under-way"), True, id="the same under way"),
        pytest.param(READ, ValueError("?"), False, id="a mistake of the caller"),
    ],
)
def test_only_what_is_done_once_is_sent_again(
    call: Call[Job], error: Exception, again: float
) -> None:
    settings = settings_for("http://x", None, timeout=1, attempts=3, patience=30)

    assert settings.retries(call, error) == again


def test_a_wait_that_ends_after_the_patience_is_not_begun() -> None:
    settings = settings_for("http://x", None, timeout=1, attempts=3, patience=30)
    error = refused(429, **{"retry-after": "20"})

    assert settings.retries(READ, error, spent_seconds=9) == 20
    assert settings.retries(READ, error, spent_seconds=11) is False


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, Invalid), (401, Denied), (403, Denied), (404, NotFound), (409, Conflict)),
        *((412, Edited), (413, Invalid), (422, Invalid), (429, RateLimited), (500, Failed)),
        *((503, Unavailable), (418, Refused)),
    ],
)
def test_a_refusal_is_of_the_class_that_says_what_to_do(status: int, kind: type[Refused]) -> None:
    assert type(refused(status)) is kind


def test_a_proxy_that_answers_for_the_api_is_told_apart() -> None:
    assert type(refusal(404, {}, b"<html>", url="http://x")) is UnexpectedAnswer
    assert type(refusal(502, {}, b"<html>", url="http://x")) is Unavailable


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        pytest.param("tocsin.example.com", None, "no address of an API", id="no scheme"),
        pytest.param("https://x:port", None, "no address of an API", id="no port"),
        pytest.param("https://me:secret@x", None, "has a user", id="a user"),
        pytest.param("https://x", "to csin\n", "a sign that no key has", id="no key"),
    ],
)
def test_what_is_no_address_or_no_key_is_refused_without_showing_it(
    url: str, key: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        Tocsin(url, key)

    assert "secret" not in str(refusal.value)
    assert "csin\n" not in str(refusal.value)


def test_a_key_over_an_open_network_is_warned_of_and_is_in_no_repr() -> None:
    with pytest.warns(UserWarning, match="unencrypted"):
        client = Tocsin("http://tocsin.example.com", "tocsin_secret")

    assert "tocsin_secret" not in repr(client) + repr(client.settings) + repr(client.jobs)


def test_what_a_report_of_an_error_shows_of_a_call_has_no_secret() -> None:
    settings = settings_for("https://x", "hunter2", timeout=1, attempts=3, patience=30)
    call = operations.put_secret("token", value="hunter2")

    for one in (settings, call, written(call)):
        assert "hunter2" not in repr(one) + repr([*one.__rich_repr__()])


def test_the_environment_says_which_api_as_for_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_URL", "https://tocsin.example.com/below/")
    monkeypatch.setenv("TOCSIN_API_KEY", "tocsin_key")

    settings = Tocsin().settings

    assert (settings.url, settings.key) == ("https://tocsin.example.com/below", "tocsin_key")


def test_a_name_cannot_lead_to_another_address() -> None:
    assert operations.get_job("../keys?a#b").path == "/v1/jobs/..%2Fkeys%3Fa%23b"
    with pytest.raises(ValueError, match="no name"):
        operations.delete_job("..")


def test_instants_without_a_zone_are_refused() -> None:
    naive = datetime(2030, 1, 31, 8, 30)  # noqa: DTZ001 - that is what is refused
    for call in (
        lambda: operations.create_job(kind="http", target={}, run_at=naive),
        lambda: schedule("once", naive, post="https://example.com"),
        lambda: written(operations.list_executions(since=naive)),
    ):
        with pytest.raises(ValueError, match="no time zone"):
            call()


def test_what_is_not_given_is_not_sent_and_none_is_null() -> None:
    patch = written(operations.patch_job("nightly", cron=None, every_seconds=60))

    assert patch.body == b'{"cron":null,"every_seconds":60}'
    assert patch.headers["Content-Type"] == "application/merge-patch+json"


def test_each_post_has_a_key_of_its_own_unless_nobody_could_read_the_answer() -> None:
    first, second = (ready(operations.run_job("nightly"), has_key=True) for _ in range(2))
    new_key = operations.create_key(name="x", scopes=["read"])

    assert first.idempotency_key != second.idempotency_key
    assert ready(new_key, has_key=False).idempotency_key is None
    assert ready(READ, has_key=True).idempotency_key is UNSET
    assert "Idempotency-Key" not in written(READ).headers


def test_every_answer_has_types_that_can_be_resolved() -> None:
    hints = get_type_hints(Job)

    assert hints["next_run"] == datetime | None


@pytest.mark.parametrize("urls", [{}, {"get": "https://x", "post": "https://x"}])
def test_a_job_that_is_scheduled_calls_one_address(urls: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one address to call"):
        schedule("nightly", "0 3 * * *", **urls)  # type: ignore[arg-type] # any of the methods


def test_wrong_arguments_are_told_by_the_name_of_the_call() -> None:
    with Tocsin("http://127.0.0.1:1") as tocsin:
        with pytest.raises(TypeError, match=r"^update\(\) missing"):
            tocsin.jobs.update()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"^list\(\) got an unexpected .*'nam'"):
            tocsin.jobs.list(nam=1)  # type: ignore[call-arg]


def test_what_is_shown_of_an_answer_with_a_secret_does_not_have_it() -> None:
    made = datetime(2030, 1, 1, tzinfo=UTC)
    key = NewKey(
        id=UUID(int=1),
        name="deployment",
        prefix="0123",
        scopes=["read"],
        created_at=made,
        expires_at=None,
        last_used_at=None,
        revoked_at=None,
        key="hunter2",
    )
    address = CheckAddress(token="hunter2", path="/ping/hunter2")

    for one in (key, address, [key]):
        assert "hunter2" not in f"{one!r} {one} {vars_of(one)}"
    assert "deployment" in repr(key)
    assert (key.key, address.path) == ("hunter2", "/ping/hunter2")


def vars_of(one: object) -> str:
    """Return what `rich` would show."""
    return str([*one.__rich_repr__()]) if isinstance(one, Unshown) else ""


def test_every_answer_with_a_secret_is_one_of_which_that_is_not_shown() -> None:
    written_out = [
        source
        for _, one in inspect.getmembers(operations, inspect.isfunction)
        if "has_secret=True" in (source := inspect.getsource(one))
    ]
    named = [re.search(r"answer=(\w+)", one) for one in written_out]

    assert named
    for one in named:
        assert one is not None
        assert one[1] in {"NewKey", "CheckAddress"}, "mask it in clients/python/generating/types.py"
        assert issubclass(getattr(answers, one[1]), Unshown)


def test_a_server_that_is_down_is_an_exception_and_nothing_is_printed() -> None:
    program = """
import sys
sys.modules["structlog"] = None  # as where it is not installed
import stamina
from tocsin import NotConnected, Tocsin
stamina.set_testing(True, attempts=3)
with Tocsin("http://127.0.0.1:1") as tocsin:
    try:
        tocsin.jobs.get("x")
    except NotConnected:
        print("told")
"""

    done = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(PLACE.parent)},
        capture_output=True,
        check=True,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("told\n", "")
