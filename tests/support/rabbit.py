"""A real RabbitMQ for tests.

The broker comes from `TEST_AMQP_URL`, else from Docker, else from Debian's `rabbitmq-server`
package, which is started here with a node name, ports and directories of its own. To have none of
these is a failure, never a skip.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from msgspec import Struct
from testcontainers.core.container import DockerContainer

from tests.support.engine import docker_has

IMAGE = "rabbitmq:4"
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Debian's own wrappers in /usr/sbin change the user and keep their own directories."""

START_SECONDS = 60.0
POLL_SECONDS = 0.1
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

PORTS = range(20_000, 32_000)
"""Ports below those of outgoing connections, so that a node's ports are free when it restarts."""

CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
log.console = true
log.console.level = warning
log.file = false
disk_free_limit.absolute = 1MB
"""


class Broker(Struct, frozen=True, kw_only=True):
    """A broker of the tests' own, which they may break."""

    url: str
    order: Callable[[list[str]], str]
    kill: Callable[[], None]
    """Kills the broker at once (SIGKILL)."""
    start: Callable[[], None]
    """Starts the broker again after that, with its data."""

    async def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`."""
        return await asyncio.to_thread(self.order, ["rabbitmqctl", *arguments])

    async def listens(self) -> None:
        """Wait until the broker speaks AMQP."""
        await asyncio.to_thread(wait_for_amqp, self.url)


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a RabbitMQ, of a user with the right to declare, bind and delete."""
    if url := os.environ.get("TEST_AMQP_URL"):
        return url
    broker: Broker = request.getfixturevalue("broker")
    return broker.url


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A broker that a test may stop, start and starve, as long as it puts all back in order."""
    if docker_has(IMAGE):
        with in_docker() as broker:
            yield broker
    elif (PROGRAMS / "rabbitmq-server").exists():
        with TemporaryDirectory(prefix="tocsin-rabbitmq-") as home, on_this_machine(home) as broker:
            yield broker
    else:
        pytest.fail(
            "these tests need a RabbitMQ: set TEST_AMQP_URL, start Docker, "
            "or install the package rabbitmq-server"
        )


@contextmanager
def in_docker() -> Iterator[Broker]:
    [port] = free_ports(1)  # of our choice: a restarted container would get another
    container = DockerContainer(IMAGE).with_bind_ports(5672, port)

    def order(arguments: list[str]) -> str:
        ended = container.exec(arguments)
        assert ended.exit_code == 0, ended.output.decode()
        return str(ended.output.decode())

    with container:
        url = f"amqp://guest:guest@{container.get_container_host_ip()}:{port}/"
        wait_for_amqp(url)
        wrapped = container.get_wrapped_container()
        yield Broker(url=url, order=order, kill=wrapped.kill, start=wrapped.start)


@contextmanager
def on_this_machine(home: str) -> Iterator[Broker]:
    """Start a node and the port mapper it wants, both as children of this process."""
    port, distribution_port, mapper_port = free_ports(3)
    environment = os.environ | {
        "HOME": home,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapper_port),
        "RABBITMQ_NODENAME": f"tocsin-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_MNESIA_BASE": f"{home}/data",
        "RABBITMQ_LOG_BASE": f"{home}/log",
        "RABBITMQ_SCHEMA_DIR": f"{home}/schema",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/generated",
        "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": f"{home}/environment",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
        "RABBITMQ_PID_FILE": f"{home}/pid",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    Path(home, "rabbitmq.conf").write_text(CONFIGURATION.format(port=port))
    Path(home, "plugins").write_text("[].")

    def order(arguments: list[str]) -> str:
        command = [str(PROGRAMS / arguments[0]), *arguments[1:]]
        ended = subprocess.run(  # noqa: S603 - our own arguments
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    url = f"amqp://guest:guest@127.0.0.1:{port}/"
    mapper = ["epmd", "-port", str(mapper_port), "-address", "127.0.0.1"]
    with ExitStack() as stack:
        out = stack.enter_context(Path(home, "out").open("w"))
        stack.enter_context(running(mapper, environment, out.fileno()))
        nodes = stack.enter_context(ExitStack())

        def start() -> None:
            server = running([str(PROGRAMS / "rabbitmq-server")], environment, out.fileno())
            node = nodes.enter_context(server)
            wait_for_amqp(url, node=node, log=Path(home, "out"))

        start()
        yield Broker(url=url, order=order, kill=nodes.close, start=start)


@contextmanager
def running(
    command: list[str], environment: dict[str, str], out: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command and, at the end, kill it with all that it started: its data is thrown away."""
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_amqp(
    url: str, *, node: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    """Wait until a broker answers the protocol header with a method frame."""
    address = urlsplit(url)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and (node is None or node.poll() is None):
        with (
            suppress(OSError),
            socket.create_connection((address.hostname, address.port), timeout=5) as probe,
        ):
            probe.sendall(PROTOCOL_HEADER)
            if probe.recv(1) == b"\x01":
                return
        time.sleep(POLL_SECONDS)
    said = log.read_text()[-2000:] if log else ""
    pytest.fail(f"RabbitMQ did not start within {START_SECONDS:g} s: {said}")


def free_ports(count: int) -> list[int]:
    """Find ports that no process listens on."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
