"""Contexts for TLS are made outside of the event loop, and offer no large groups."""

import asyncio
import ssl
import threading
from pathlib import Path

import pytest

from app.targets.net import tls as tls_module
from app.targets.net import tls_contexts
from app.targets.net.tls import Tls, tls_context, tls_errors
from app.targets.net.tls_contexts import MAX_WAITING, Contexts, ContextsCrowded
from app.targets.net.tls_groups import names_groups
from tests.support.certificate import certificate
from tests.support.hello import offered

FINITE_FIELD_GROUPS = range(0x0100, 0x0200)
"""RFC 7919."""
DHE = {0x0033, 0x0039, 0x0067, 0x006B, 0x009E, 0x009F, 0xCCAA}
"""The suites of OpenSSL's own choice whose group the server makes up."""
X25519, P256, P384 = 0x001D, 0x0017, 0x0018


def numbered(number: int) -> Tls:
    """Settings that differ from each other."""
    return Tls(ca=f"authority {number}")


class Made:
    """Makes contexts as slowly as a test wants, and notes in which threads."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.threads: list[int] = []

    def __call__(self, tls: Tls) -> ssl.SSLContext:
        del tls
        self.may_go_on.wait()
        self.threads.append(threading.get_ident())
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(tls_contexts, "tls_context", made)
    return made


async def test_contexts_are_made_outside_of_the_event_loop_and_once(made: Made) -> None:
    contexts = Contexts()
    asked = [asyncio.create_task(contexts.find_context(numbered(n % 2))) for n in range(4)]
    await asyncio.sleep(0)
    made.may_go_on.set()
    first, second, *again = await asyncio.gather(*asked)

    assert again == [first, second]
    assert first is not second
    assert len(made.threads) == 2
    assert threading.get_ident() not in made.threads


async def test_whoever_finds_too_many_waiting_comes_later_unless_something_was_sent(
    made: Made,
) -> None:
    contexts = Contexts()
    asked = [asyncio.create_task(contexts.find_context(numbered(n))) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    known = asyncio.create_task(contexts.find_context(numbered(0)))
    refused = [
        (await asyncio.gather(contexts.find_context(numbered(1000 + n)), return_exceptions=True))[0]
        for n in range(2)
    ]
    patient = asyncio.create_task(contexts.find_context(numbered(2000), patient=True))
    await asyncio.sleep(0)
    made.may_go_on.set()
    await asyncio.gather(*asked, known, patient)

    assert [one.times for one in refused if isinstance(one, ContextsCrowded)] == [1, 2]
    assert len(made.threads) == MAX_WAITING + 1
    assert not contexts.making
    await contexts.find_context(numbered(1000))


async def test_one_who_is_cut_off_takes_the_context_from_nobody(made: Made) -> None:
    contexts = Contexts()
    cut_off, waits = [asyncio.create_task(contexts.find_context(numbered(1))) for _ in range(2)]
    await asyncio.sleep(0)
    cut_off.cancel()
    made.may_go_on.set()

    assert isinstance(await waits, ssl.SSLContext)


async def test_the_contexts_used_last_are_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_contexts, "MAX_CONTEXTS", 2)
    made.may_go_on.set()
    contexts = Contexts()
    for number in (1, 2, 1, 3):
        await contexts.find_context(numbered(number))

    assert list(contexts.made) == [numbered(1), numbered(3)]


def test_texts_that_were_checked_are_not_checked_again_for_their_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []

    def noted(certificate: str) -> None:
        checked.append(certificate)

    monkeypatch.setattr(tls_module, "check_size", noted)
    tls = Tls(**certificate(1))

    assert not list(tls_errors(tls))
    assert isinstance(tls_context(tls), ssl.SSLContext)
    assert checked == [tls.client_certificate]


@pytest.mark.parametrize("verify", [True, False])
def test_no_handshake_computes_in_a_group_of_thousands_of_bits(*, verify: bool) -> None:
    before = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).security_level
    suites, groups = offered(tls_context(Tls(verify=verify)))

    assert not DHE.intersection(suites)
    assert not set(FINITE_FIELD_GROUPS).intersection(groups)
    assert {X25519, P256, P384} <= set(groups)
    assert len(suites) > len(DHE)
    assert ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).security_level == before
    assert tls_context(Tls(verify=verify)).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("Groups = P-256", True),
        ("0.Curves=X25519", True),
        ("# nothing", False),
        ("x = Groups", False),
    ],
)
def test_groups_that_an_operator_chose_stay(tmp_path: Path, line: str, *, chosen: bool) -> None:
    file = tmp_path / "openssl.cnf"
    file.write_text(f"[system_default_sect]\n{line}\n")

    assert names_groups(file) is chosen
    assert not names_groups(tmp_path / "missing")


def test_authorities_are_read_one_by_one_only_where_the_directory_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    (tmp_path / "0a1b2c3d.0").write_text(text.format("one"))
    (tmp_path / "two.pem").write_text(text.format("two"))
    file = tmp_path / "all.crt"
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    found = []
    for names in (["one"], ["one", "two"]):
        file.write_text("".join(map(text.format, names)))
        tls_module.directory_of_authorities.cache_clear()
        found.append(tls_module.directory_of_authorities())
    tls_module.directory_of_authorities.cache_clear()

    assert found == [str(tmp_path), None]
