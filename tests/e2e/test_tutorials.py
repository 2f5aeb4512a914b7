"""The tutorials, followed as they stand, with `tocsin` and psql as processes."""

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError

import aio_pika
import pytest

from tests.support.cluster import ROOT
from tests.support.postgres import PostgresServer
from tests.support.rabbit import free_ports
from tests.support.vault import KEY
from tests.support.walkthrough import Walkthrough

PATIENCE_SECONDS = 40.0
PAGES = sorted(file.name for file in (ROOT / "docs" / "tutorials").glob("*.md"))
RECEIVER = """
import sys
from http.server import *
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()
    do_GET = do_POST
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
"""


class Running:
    """An API, an instance and a receiver, and how a reader's machine names them."""

    def __init__(self, url: str, ports: list[int]) -> None:
        self.api, self.receiver, self.other = ports
        self.variables = {
            "TOCSIN_DATABASE_URL": url,
            "TOCSIN_SECRET_KEYS": KEY,
            "TOCSIN_ALLOW_PRIVATE_TARGETS": "true",
            "TOCSIN_URL": f"http://127.0.0.1:{self.api}",
        }
        self.here = {
            "127.0.0.1:8080": f"127.0.0.1:{self.api}",
            "127.0.0.1:9000": f"127.0.0.1:{self.receiver}",
            "127.0.0.1:9001": f"127.0.0.1:{self.other}",
            '"127.0.0.1", 9001': f'"127.0.0.1", {self.other}',
        }

    def commands(self) -> Iterator[list[str]]:
        yield [sys.executable, "-m", "app", "api", "--port", str(self.api)]
        yield [sys.executable, "-m", "app", "scheduler"]
        yield [sys.executable, "-c", RECEIVER, str(self.receiver)]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.api}/v1/instances", timeout=5
            ) as answer:
                return b'"connected":true' in answer.read()
        except (URLError, TimeoutError, ConnectionError):
            return False


@pytest.fixture(scope="module")
def running(postgres_server: PostgresServer) -> Iterator[Running]:
    """Give processes that all tutorials share, as for a reader who follows one after the other."""
    with ExitStack() as stack:
        one = Running(stack.enter_context(postgres_server.database()), free_ports(3))
        for command in one.commands():
            environment = {
                name: value for name, value in os.environ.items() if name[:7] != "TOCSIN_"
            }
            process = subprocess.Popen(  # noqa: S603 - our own
                command,
                cwd=ROOT,
                env={**environment, **one.variables},
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        patience = time.monotonic() + PATIENCE_SECONDS
        while not one.answers():
            assert time.monotonic() < patience, "no API, or no instance"
            time.sleep(0.1)
        yield one


@pytest.mark.parametrize("page", [page for page in PAGES if page != "rabbitmq.md"])
def test_a_tutorial_can_be_followed_to_its_end(page: str, running: Running, tmp_path: Path) -> None:
    walkthrough = Walkthrough(
        f"docs/tutorials/{page}", folder=tmp_path, variables=running.variables, here=running.here
    )

    printed = walkthrough.follow()

    assert len(printed) >= 3
    assert not [one for one in tmp_path.glob("*-key") if one.stat().st_mode & 0o077]


def test_the_tutorial_about_rabbitmq_puts_a_message_into_the_queue(
    running: Running, amqp_url: str, tmp_path: Path
) -> None:
    asyncio.run(declare(amqp_url))
    here = running.here | {"amqp://guest:guest@127.0.0.1:5672/": amqp_url}
    page = Walkthrough(
        "docs/tutorials/rabbitmq.md", folder=tmp_path, variables=running.variables, here=here
    )

    page.follow()

    assert asyncio.run(received(amqp_url)) == [b'{"order":4711}']


async def declare(url: str) -> None:
    async with await aio_pika.connect(url) as broker:
        channel = await broker.channel()
        await (await channel.declare_queue("invoices")).purge()


async def received(url: str) -> list[bytes]:
    async with await aio_pika.connect(url) as broker:
        queue = await (await broker.channel()).get_queue("invoices")
        bodies = []
        while message := await queue.get(no_ack=True, fail=False):
            bodies.append(re.sub(rb"\s", b"", message.body))
        await queue.delete()
        return bodies


def test_every_tutorial_is_named_by_the_quickstart() -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text("utf-8")

    assert set(re.findall(r"\(tutorials/([\w-]+\.md)\)", text)) == set(PAGES)
