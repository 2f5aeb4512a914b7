"""The examples for receivers, each called by a real instance, and by those who are not Tocsin."""

import asyncio
import logging
import re
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import asyncpg
import httpx
import pytest
import uvicorn
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory, override_settings
from standardwebhooks import Webhook
from tocsin import AsyncTocsin
from tocsin.receiver import AsyncStore, Delivery, Receiver, Standing
from tocsin.receiver.django import receives as django_receives

from tests.support import django_project
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.waiting import until

SECRET = f"whsec_{b64encode(bytes(32)).decode()}"
PAGE = (ROOT / "docs/clients.md").read_text("utf-8").partition("\n## Receivers\n")[2]


def example(heading: str, number: int = 0) -> str:
    """Return an example below a heading; the empty one is that of the whole section."""
    part = PAGE.partition(f"\n### {heading}\n")[2] if heading else PAGE
    return re.findall(r"^```python\n(.*?)^```", part, re.DOTALL | re.MULTILINE)[number]


def module_of(heading: str) -> dict[str, Any]:
    """Run what a page has for a framework, below what it has for all of them."""
    names: dict[str, Any] = {"__name__": f"example_{heading}"}
    handlers = [*logging.root.handlers]
    exec(f"{example('', 1)}\n{example(heading)}", names)  # noqa: S102 - of our own page
    logging.root.handlers[:] = handlers  # Litestar sends all logs of the process to its own thread
    return names


@asynccontextmanager
async def asgi(app: Any) -> AsyncIterator[int]:  # noqa: ANN401 - of either framework
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    running = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started, "the receiver has started")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wsgi(app: Any) -> Iterator[int]:  # noqa: ANN401 - of either framework
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def receiving(framework: str) -> AsyncIterator[tuple[str, Receiver]]:
    """Serve the example of a framework; give its address and its receiver."""
    names = module_of(framework)
    if framework in {"Litestar", "FastAPI"}:
        async with asgi(names["app"]) as port:
            yield f"http://127.0.0.1:{port}/report", names["receiver"]
    elif framework == "Flask":
        with wsgi(names["app"]) as port:
            yield f"http://127.0.0.1:{port}/report", names["receiver"]
    else:
        urls = ModuleType("urls")
        urls.__dict__.update(names)
        django_project.configure()
        given = {"ALLOWED_HOSTS": ["127.0.0.1"], "ROOT_URLCONF": urls}
        with override_settings(**given), wsgi(WSGIHandler()) as port:
            yield f"http://127.0.0.1:{port}/report", names["receiver"]


@pytest.mark.parametrize("framework", ["Litestar", "FastAPI", "Django", "Flask"])
async def test_a_run_is_received_once_and_a_stranger_never(
    framework: str,
    served: str,
    instance: StartInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOCSIN_SIGNING_SECRET", SECRET)
    async with (
        receiving(framework) as (url, receiver),
        instance(),
        AsyncTocsin(served) as tocsin,
        httpx.AsyncClient() as stranger,
    ):
        monkeypatch.setenv("TOCSIN_URL", served)
        monkeypatch.setenv("REPORT_URL", url)
        await asyncio.to_thread(exec, example(""), {})
        job = await tocsin.jobs.run("nightly")

        async def executed(count: int) -> list[Any]:
            found: list[Any] = []

            async def are_there() -> bool:
                found[:] = [one async for one in tocsin.jobs.executions(job.id)]
                return len(found) == count

            await until(are_there, "the executions are on record")
            return found

        [first] = await executed(1)
        await tocsin.executions.replay(first.id)
        replayed, _ = await executed(2)
        forged = await stranger.post(url, json={"all": True})
        large = await stranger.post(url, content=bytes(receiver.max_body_bytes + 1))

    assert (first.outcome, first.status_code) == (
        "succeeded",
        200 if framework in "FastAPI Flask" else 204,
    )
    assert (replayed.outcome, replayed.response) == ("succeeded", "done before")
    assert capsys.readouterr().out.splitlines() == [
        f"{job.id} {first.scheduled_for} {{'all': True}}"
    ]
    assert (forged.status_code, large.status_code) == (401, 413)


async def test_the_store_in_postgres_that_the_page_shows_lets_one_of_many_do_a_run(
    database_url: str,
) -> None:
    names: dict[str, Any] = {}
    exec(example("Once"), names)  # noqa: S102 - of our own page
    async with asyncpg.create_pool(database_url, min_size=2, max_size=4) as pool:
        await pool.execute(names["TABLE"])
        store: AsyncStore = names["PostgresStore"](pool)

        begun = await asyncio.gather(*(store.begin("a", lease_seconds=60) for _ in range(8)))
        assert sorted(begun) == [Standing.NEW, *[Standing.UNDER_WAY] * 7]
        await store.release("a")
        assert await store.begin("a", lease_seconds=0) is Standing.NEW
        assert await store.begin("a", lease_seconds=60) is Standing.NEW
        await store.end("a", keep_seconds=60)
        await store.release("a")
        assert await store.begin("a", lease_seconds=60) is Standing.DONE


async def test_a_coroutine_function_is_a_view_of_django_too() -> None:
    django_project.configure()
    received: list[Delivery] = []

    @django_receives(Receiver(SECRET))
    async def view(delivery: Delivery) -> None:
        received.append(delivery)

    at = datetime.now(UTC)
    signed = {
        "webhook-id": "a",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("a", at, "text"),
    }
    request = RequestFactory().post("/", b"text", content_type="text/plain", headers=signed)
    answered = view(request)
    assert isinstance(answered, Coroutine)

    assert (await answered).status_code == 204
    assert [one.body for one in received] == [b"text"]
