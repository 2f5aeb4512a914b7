"""A Postgres that lets in by TLS alone, or nobody: a session, or one sentence with the remedy."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from app.db.connecting import connect
from app.devdb.cluster import Cluster
from app.devdb.places import give_to_postgres
from app.errors import DatabaseRefused
from tests.support.certificate import self_signed_files
from tests.support.postgres import PORTS, TEST_SETTINGS, programs_with_tls, throwaway_directory


class Guarded(Struct, frozen=True, kw_only=True):
    """A server whose pg_hba.conf says so of each database."""

    cluster: Cluster
    root: Path
    """The certificate of the server, which it signed itself."""
    other_root: Path

    def url(self, *, database: str = "tocsin", host: str = "localhost") -> str:
        address = self.cluster.server().url.replace("127.0.0.1", host)
        return address.removesuffix("tocsin") + database


RULES = """
hostssl tocsin     all all scram-sha-256
host    rejecting  all all reject
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with throwaway_directory() as home:
        cluster = Cluster(bin=programs_with_tls(), home=home)
        cluster.create(TEST_SETTINGS)
        certificate, key = self_signed_files("localhost", cluster.data)
        for file in (certificate, key):
            give_to_postgres(file)
        other = home / "other"
        other.mkdir()
        other_root, _ = self_signed_files("localhost", other)
        (cluster.data / "pg_hba.conf").write_text(RULES, "ascii")
        with (cluster.data / "postgresql.conf").open("a", encoding="ascii") as conf:
            conf.write(f"ssl = on\nssl_cert_file = '{certificate.name}'\n")
            conf.write(f"ssl_key_file = '{key.name}'\n")
        cluster.start(random.choice(PORTS))
        try:
            yield Guarded(cluster=cluster, root=certificate, other_root=other_root)
        finally:
            cluster.stop("immediate")


@pytest.fixture
def root(guarded: Guarded, tmp_path: Path) -> Path:
    """A copy of the server's certificate, as it is handed out."""
    copy = tmp_path / "root.crt"
    copy.write_bytes(guarded.root.read_bytes())
    return copy


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
async def test_a_server_that_lets_in_by_tls_alone_is_entered_by_tls(
    guarded: Guarded, sslmode: str
) -> None:
    connection = await connect(f"{guarded.url()}?sslmode={sslmode}")

    assert await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    await connection.close()


@pytest.mark.parametrize("sslmode", ["verify-full", "verify-ca"])
async def test_a_certificate_that_the_named_authority_signed_is_trusted(
    guarded: Guarded, root: Path, sslmode: str
) -> None:
    connection = await connect(f"{guarded.url()}?sslmode={sslmode}&sslrootcert={root}")

    assert await connection.fetchval("select 1") == 1
    await connection.close()


async def test_without_tls_such_a_server_says_in_a_sentence_to_use_it(guarded: Guarded) -> None:
    with pytest.raises(DatabaseRefused, match="sslmode=require") as refused:
        await connect(f"{guarded.url()}?sslmode=disable")

    assert one_sentence(guarded, refused.value)


@pytest.mark.parametrize(
    ("host", "parameters"),
    [
        ("localhost", "sslmode=verify-full&sslrootcert={other_root}"),
        ("localhost", "sslmode=verify-ca&sslrootcert={other_root}"),
        ("localhost", "sslrootcert=system"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={root}"),
    ],
    ids=["another root", "another root, any name", "the system's roots", "another name"],
)
async def test_a_certificate_that_is_not_trusted_is_one_sentence_with_the_remedy(
    guarded: Guarded, host: str, parameters: str
) -> None:
    files = {"root": guarded.root, "other_root": guarded.other_root}

    with pytest.raises(DatabaseRefused, match="sslrootcert") as refused:
        await connect(f"{guarded.url(host=host)}?{parameters.format(**files)}")

    assert "is not trusted" in str(refused.value)
    assert one_sentence(guarded, refused.value)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
@pytest.mark.parametrize("database", ["rejecting", "unmentioned"])
async def test_a_line_that_rejects_and_one_that_is_missing_are_one_sentence(
    guarded: Guarded, database: str, sslmode: str
) -> None:
    with pytest.raises(DatabaseRefused, match=r"pg_hba\.conf") as refused:
        await connect(f"{guarded.url(database=database)}?sslmode={sslmode}")

    assert one_sentence(guarded, refused.value)


def one_sentence(guarded: Guarded, error: DatabaseRefused) -> bool:
    """Whether the message is one line of some length without the password."""
    message = str(error)
    password = guarded.cluster.server().url.partition("tocsin:")[2].partition("@")[0]
    return len(message) < 400 and "\n" not in message and password not in message
