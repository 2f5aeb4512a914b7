"""Client certificates and authorities of one's own, against real TLS servers."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.core.runs.outcome import Outcome, Report
from app.errors import InvalidInput
from app.targets.executors import Executors
from app.targets.net.tls import Tls, tls_context, tls_errors
from app.targets.net.tls_contexts import Contexts
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, attempt
from tests.support.sink import Received, Sink, Wire, reply

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()


def ours(authority: trustme.CA = AUTHORITY) -> dict[str, str]:
    """A certificate for us, as the fields of a target."""
    issued = authority.issue_cert("tocsin@example.com")
    return {
        "client_certificate": "".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
        "client_key": issued.private_key_pem.bytes().decode(),
    }


def server_side(*, wants_ours: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1", "127.0.0.2").configure_cert(context)
    if wants_ours:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with Executors(egress=NEARBY) as executors:
        yield executors


@pytest.fixture
async def strict() -> AsyncIterator[Sink]:
    """A receiver that talks to those only who have a certificate."""
    async with Sink(tls=server_side()).listening() as sink:
        yield sink


async def send(executors: Executors, url: str, **target: object) -> Report:
    return await executors.execute("http", decode_target("http", {"url": url, **target}), attempt())


async def test_a_receiver_that_wants_our_certificate_gets_it(executors: Executors, strict: Sink):
    report = await send(executors, strict.url(), ca=CA, **ours())

    assert report.outcome is Outcome.SUCCEEDED


async def test_without_a_certificate_or_with_a_stranger_s_there_is_no_answer(
    executors: Executors, strict: Sink
):
    """In TLS 1.3 a server judges our certificate after the handshake: all it can do is hang up."""
    without = await send(executors, strict.url(), ca=CA)
    other = await send(executors, strict.url(), ca=CA, **ours(STRANGER))

    for report in (without, other):
        assert report.outcome is Outcome.FAILED
        assert report.reason == "closed"
        assert report.retryable
    assert not strict.requests


async def test_an_authority_of_our_own_is_trusted_by_those_who_name_it_only(executors: Executors):
    async with Sink(tls=server_side(wants_ours=False)).listening() as sink:
        named = await send(executors, sink.url(), ca=CA)
        system = await send(executors, sink.url())
        other = await send(executors, sink.url(), ca=STRANGER.cert_pem.bytes().decode())

    assert named.outcome is Outcome.SUCCEEDED
    assert system.reason == other.reason == "tls"
    assert len(sink.requests) == 1


async def test_the_name_of_the_server_still_has_to_be_right(executors: Executors):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("elsewhere.example").configure_cert(context)
    async with Sink(tls=context).listening() as sink:
        report = await send(executors, sink.url(), ca=CA)

    assert report.reason == "tls"
    assert not sink.requests


async def test_a_connection_made_with_a_certificate_is_not_lent_to_others(
    executors: Executors, strict: Sink
):
    mine = ours()
    await send(executors, strict.url(), ca=CA, **mine)
    await send(executors, strict.url(), ca=CA, **mine)
    stranger = await send(executors, strict.url(), ca=CA)

    assert stranger.reason == "closed"
    assert [request.connection for request in strict.requests] == [1, 1]


async def test_our_certificate_is_shown_to_its_own_origin_only(executors: Executors):
    async def say_whether_it_was_shown(wire: Wire, _: Received) -> None:
        shown.append(bool(wire.transport.get_extra_info("peercert")))
        there = sink.url("/there", host="127.0.0.2")
        await wire.write(reply(307 if len(shown) == 1 else 200, headers={"Location": there}))

    shown: list[bool] = []
    context = server_side()
    context.verify_mode = ssl.CERT_OPTIONAL
    async with Sink(tls=context).listening() as sink:
        sink.default = say_whether_it_was_shown
        report = await send(executors, sink.url(), ca=CA, follow_redirects=True, **ours())

    assert report.outcome is Outcome.SUCCEEDED
    assert shown == [True, False]


async def test_a_token_server_may_have_an_authority_of_its_own(executors: Executors, sink: Sink):
    async with Sink(tls=server_side(wants_ours=False)).listening() as server:
        server.default = reply(200, b'{"access_token": "t", "token_type": "bearer"}')
        auth = {
            "type": "oauth2",
            "token_url": server.url("/token"),
            "client_id": "me",
            "client_secret": "sesame",
        }
        trusted = await send(executors, sink.url(), auth=auth | {"ca": CA})
        untrusted = await send(executors, sink.url(), auth=auth | {"scope": "other"})

    assert trusted.outcome is Outcome.SUCCEEDED
    assert (untrusted.outcome, untrusted.reason) == (Outcome.FAILED, "auth")
    assert untrusted.retryable
    assert len(sink.requests) == 1


@asynccontextmanager
async def tls_relay(amqp_url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The broker behind TLS; yields its amqps address."""
    user, _, rest = amqp_url.removeprefix("amqp://").rpartition("@")
    host, _, port = rest.partition("/")[0].rpartition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(host, int(port))
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, broker_writer))
            group.create_task(pump(broker_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield f"amqps://{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_a_broker_that_wants_our_certificate_gets_it(executors: Executors, amqp_url: str):
    async def publish(**tls: str) -> Report:
        fields = {"url": url, "routing_key": "nobody", "mandatory": False, **tls}
        return await executors.execute("amqp", decode_target("amqp", fields), attempt(within=5))

    async with tls_relay(amqp_url, server_side()) as url:
        known = await publish(ca=CA, **ours())
        unknown = await publish(ca=CA)
        untrusting = await publish()

    assert known.outcome is Outcome.SUCCEEDED
    assert unknown.outcome is untrusting.outcome is Outcome.FAILED
    assert unknown.reason in {"tls", "closed"}
    assert untrusting.reason == "tls"


def encrypted(key: str) -> str:
    return (
        serialization.load_pem_private_key(key.encode(), None)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
        .decode()
    )


MINE = ours()
CUT = MINE["client_certificate"][:200]


@pytest.mark.parametrize("kind", ["http", "amqp"])
@pytest.mark.parametrize(
    ("fields", "wrong", "said"),
    [
        ({"client_certificate": MINE["client_certificate"]}, "client_key", "go together"),
        ({"client_key": MINE["client_key"]}, "client_certificate", "go together"),
        (MINE | {"client_key": ours()["client_key"]}, "client_key", "not the key of the"),
        (MINE | {"client_key": encrypted(MINE["client_key"])}, "client_key", "passphrase"),
        (MINE | {"client_key": "sesame"}, "client_key", "must be a key in PEM"),
        (MINE | {"client_certificate": CUT}, "client_certificate", "certificates in PEM"),
        (MINE | {"client_certificate": "x" * 40_000}, "client_certificate", "32768"),
        (
            MINE | {"client_certificate": "".join(reversed(MINE.values()))},
            "client_certificate",
            "belongs in client_key alone",
        ),
        ({"ca": ""}, "ca", "certificates in PEM"),
        ({"ca": "sesame"}, "ca", "certificates in PEM"),
        ({"ca": MINE["client_key"]}, "ca", "belongs in client_key alone"),
    ],
    ids=[
        *("no key", "no certificate", "other key", "encrypted", "no PEM key", "cut", "long"),
        *("key in certificate", "empty ca", "no PEM ca", "key in ca"),
    ],
)
def test_texts_that_openssl_cannot_use_are_refused_by_their_field(
    kind: str, fields: dict[str, str], wrong: str, said: str
):
    url = {"http": "https://example.com/", "amqp": "amqps://example.com/"}[kind]
    rest = {"routing_key": "q"} if kind == "amqp" else {}

    with pytest.raises(InvalidInput) as refusal:
        decode_target(kind, {"url": url, **rest, **fields})

    [error] = refusal.value.errors
    assert error.field == f"target.{wrong}"
    assert said in error.message
    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize("bits", [4096, 4104])
def test_a_key_that_takes_long_to_sign_with_is_refused(bits: int):
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "large")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    tls = Tls(
        client_certificate=certificate.public_bytes(pem).decode(),
        client_key=key.private_bytes(pem, *form).decode(),
    )

    fields = [(one.field, one.message) for one in tls_errors(tls)]

    refused = "has a key of 4104 bits: at most 4096, or a curve, will do"
    assert fields == ([] if bits == 4096 else [("client_certificate", refused)])


def test_an_authority_is_of_no_use_where_nothing_is_verified():
    with pytest.raises(InvalidInput, match=r"target\.ca: is of no use without verify_tls"):
        decode_target("http", {"url": "https://example.com/", "ca": CA, "verify_tls": False})


def test_the_key_is_not_shown_and_the_certificate_is():
    target = decode_target("http", {"url": "https://example.com/", **MINE})

    assert MINE["client_key"] not in repr(target)
    assert MINE["client_key"].splitlines()[1] not in repr(target)
    assert repr(MINE["client_certificate"]) in repr(target)


def test_the_key_is_nowhere_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """And no descriptor stays open."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    before = len(list(Path("/proc/self/fd").iterdir()))

    tls_context(Tls(**ours()))

    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_equal_settings_share_a_context_so_that_connections_are_used_again():
    contexts = Contexts()

    one, same, other = [await contexts.find_context(Tls(**MINE, ca=ca)) for ca in (None, None, CA)]

    assert one is same
    assert one is not other
