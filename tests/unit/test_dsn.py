"""Addresses of a database in every form that libpq takes; a password is never shown."""

from pathlib import Path

import pytest

from app.config import Settings
from app.dsn import Host, complete, masked, parse
from app.errors import InvalidSettings

SECRET = "s3cret-pa55"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("postgresql://u:p@a:1/d", [Host("a", 1)]),
        (
            "postgresql://u:p,q@a:1,b/d?target_session_attrs=read-write",
            [Host("a", 1), Host("b", None)],
        ),
        ("postgresql://[::1]:1,[::2]/d", [Host("::1", 1), Host("::2", None)]),
        ("postgresql:///d?host=/run/a,/run/b", [Host("/run/a", None), Host("/run/b", None)]),
        ("postgres://%2Frun%2Fa/d", [Host("/run/a", None)]),
        ("postgresql://", [Host("", None)]),
        ("postgresql://a,b/d?port=7", [Host("a", 7), Host("b", 7)]),
        ("host=a,b port=7,8", [Host("a", 7), Host("b", 8)]),
        ("host=name hostaddr=192.0.2.1", [Host("192.0.2.1", None)]),
        ("host=name hostaddr=192.0.2.1 sslmode=verify-full", [Host("name", None)]),
    ],
)
def test_an_address_names_its_hosts_in_order(text: str, hosts: list[Host]) -> None:
    assert list(parse(text).hosts) == hosts


@pytest.mark.parametrize(
    ("text", "user", "password", "database"),
    [
        ("postgresql://me:p%40s%2Fs@h/d%20b", "me", "p@s/s", "d b"),
        ("postgresql://me:p@ss@h/d", "me", "p@ss", "d"),
        ("postgresql://me:p#ss%@h/d", "me", "p#ss%", "d"),
        ("postgresql://h/d?user=me&password=a%26b", "me", "a&b", "d"),
        (r"host=h user='m e' password='it\'s \\' dbname=d", "m e", "it's \\", "d"),
        ("host = h user=me password=pa\\ ss dbname=d", "me", "pa ss", "d"),
        ("postgresql://h/?database=d&user=me", "me", None, "d"),
    ],
)
def test_user_password_and_database_are_read_as_libpq_reads_them(
    text: str, user: str, password: str | None, database: str
) -> None:
    address = parse(text)

    assert (address.user, address.password, address.database) == (user, password, database)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(
            (address, f"did you mean {meant}\\?")
            for address, meant in (
                *(
                    ("host=h db=d", "dbname"),
                    ("host=h DB=d", "dbname"),
                    ("host=h Database=d", "dbname"),
                ),
                *(("host=h username=u", "user"), ("host=h UID=u", "user"), ("Server=h", "host")),
                *(("host=h pass=p", "password"), ("host=h pwd=p", "password")),
                *(("host=h passwd=p", "password"), ("host=h ssl_mode=require", "sslmode")),
                *(("postgresql://h/d?username=u", "user"), ("postgresql://h/?db=d", "dbname")),
                *(("postgresql://h/d?ssl-mode=require", "sslmode"), ("host=h tls=on", "sslmode")),
                ("host=h timeout=3", "connect_timeout"),
            )
        ),
        ("host=h statement_timeout=5", "a setting of the server.*-c statement_timeout=value"),
        ("postgresql://h/d?sslmod=require", "sslmod.*did you mean sslmode?"),
        ("postgresql://h/d?connection_timeout=3", "did you mean connect_timeout?"),
        ("postgresql://h/d?schema=public", "parameter schema .*options=-c"),
        ("host=h hots=b", "did you mean host"),
        ("postgresql://h/d?sslmode=sure", "sslmode takes disable, .* or verify-full"),
        ("postgresql://h/d?connect_timeout=soon", "connect_timeout takes a whole number"),
        ("postgresql://h/d?target_session_attrs=master", "target_session_attrs takes any"),
        ("postgresql://h/d?sslrootcert=system&sslmode=require", "verify-full"),
        ("postgresql://h:0/d", "from 1 to 65535"),
        ("postgresql://h:70000/d", "from 1 to 65535"),
        ("host=a,b,c port=1,2", "not as many ports as hosts"),
        ("host='a", "single quotes"),
        ("postgresql://h/d%ff", "UTF-8"),
        ("postgresql://h/d%00", "zero byte"),
        ("postgresql://h/d?sslmode", "without ="),
        ("postgresql://[::1/d", "IPv6"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says) as refused:
        parse(text)

    assert str(refused.value).startswith("TOCSIN_DATABASE_URL ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        *("application_name", "fallback_application_name", "client_encoding", "channel_binding"),
        *("gssencmode", "requirepeer", "require_auth", "sslsni", "sslcertmode", "replication"),
        *("min_protocol_version", "oauth_issuer"),
    ],
)
def test_what_libpq_knows_and_we_do_not_is_ignored(name: str) -> None:
    assert parse(f"postgresql://h/d?{name}=x").ignored == (name,)


MALFORMED = [
    f"me:{SECRET}@db/tocsin",
    f"//me:{SECRET}@db/tocsin",
    f"jdbc:postgresql://me:{SECRET}@db/tocsin",
    f"jdbc:postgresql://db/tocsin?user=me&password={SECRET}",
    f"postgresql:me:{SECRET}@db/tocsin",
    f"postgres//me:{SECRET}@db/tocsin",
    f"postgresql+asyncpg://me:{SECRET}@db/tocsin",
    f"mysql://me:{SECRET}@db/tocsin",
    f"mysql://me:{SECRET}",
    f"postgresql://me:{SECRET}",
    f"postgresql://me:a/{SECRET}@db/tocsin",
    f"postgresql://me:{SECRET}/b@db/tocsin",
    f"postgresql://me:12?{SECRET}@db/tocsin",
    f"postgresql://me:12?a={SECRET}@db/tocsin",
    f"postgresql://me:12/{SECRET}@db/tocsin",
    f"postgresql://db/tocsin?pasword={SECRET}",
    f"postgresql://db/tocsin?sslmode=require&{SECRET}",
    f"postgresql://me:{SECRET}@db/tocsin?sslmode=sure",
    f"postgresql://me:{SECRET}@db:port/tocsin",
    f"postgresql://me:{SECRET}@d b/tocsin",
    f"postgresql%3A%2F%2Fme%3A{SECRET}%40db",
    f"psql postgresql://me:{SECRET}@db/tocsin",
    f"'postgresql://me:{SECRET}@db/tocsin'",
    f"TOCSIN_DATABASE_URL=postgresql://me:{SECRET}@db/tocsin",
    f"host=db password={SECRET} sslmod=x",
    f"host=db password = '{SECRET}",
    f"host=db password=two {SECRET}",
    f"host=db password=two {SECRET}=3",
    f"host=db password='two'{SECRET}",
    f"host=db PASSWORD={SECRET}",
    f"host=db pasword={SECRET}",
    f"host=db sslpassword={SECRET} x",
    SECRET,
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_address_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environ({"TOCSIN_DATABASE_URL": text})

    shown = (
        f"{refused.value} {refused.value.__cause__} {masked(text)} {Settings(database_url=text)!r}"
    )
    assert SECRET not in shown
    assert refused.value.__cause__ is None


def test_what_others_wrote_is_shown_without_the_password_in_any_encoding() -> None:
    address = parse("postgresql://me:s3cr%40t%2Fx@h/d")

    shown = address.shown("no s3cr@t/x, no s3cr%40t%2Fx, no s3cr%40t/x")

    assert shown == "no ***, no ***, no ***"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (None, {}, None),
        (None, {"PGUSER": "me", "PGPASSWORD": "x"}, None),
        ("postgresql://h/d", {"HOME": "/nowhere"}, "postgresql://h/d"),
        (None, {"PGHOST": "h", "PGDATABASE": "d"}, "postgresql:///d?host=h"),
        (
            "postgresql://h/d",
            {"PGUSER": "me", "PGPASSWORD": "p@", "PGPORT": "7", "PGHOST": "other"},
            "postgresql://me:p%40@/d?host=h&port=7",
        ),
        ("host=h", {"PGSSLMODE": "verify-full"}, "postgresql:///?sslmode=verify-full&host=h"),
    ],
)
def test_libpqs_variables_complete_an_address(
    text: str | None, environ: dict[str, str], expected: str | None
) -> None:
    found = complete(text, environ)

    assert found == expected or parse(found or "") == parse(expected or "")


def test_a_service_file_says_what_the_address_leaves_open(tmp_path: Path) -> None:
    (tmp_path / ".pg_service.conf").write_text(
        "# ours\n[prod]\nhost=db.internal\nport=6432\nuser=me\npassword=50%off\ndbname=d\n", "utf-8"
    )

    address = parse(
        complete("postgresql:///?service=prod&port=7", {"HOME": str(tmp_path), "PGUSER": "x"}) or ""
    )

    assert address.hosts == (Host("db.internal", 7),)
    assert (address.user, address.password, address.database) == ("me", "50%off", "d")


@pytest.mark.parametrize(
    "environ",
    [
        {"PGSERVICE": "gone", "PGSERVICEFILE": "{home}/mine.conf"},
        {"PGSERVICE": "gone", "HOME": "{home}"},
        {"PGSERVICE": "gone", "PGSYSCONFDIR": "{home}"},
        {"PGSERVICE": "gone"},
    ],
)
def test_a_service_that_no_file_has_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    given_environ = {name: value.format(home=tmp_path) for name, value in environ.items()}

    with pytest.raises(InvalidSettings, match="the service gone, which is not in"):
        Settings.from_environ(given_environ)


def test_a_service_file_that_is_none_is_told_of_without_its_lines(tmp_path: Path) -> None:
    (tmp_path / "mine.conf").write_text(f"password={SECRET}", "utf-8")

    with pytest.raises(InvalidSettings, match="cannot be read") as refused:
        Settings.from_environ(
            {"PGSERVICE": "x", "PGSERVICEFILE": str(tmp_path / "mine.conf"), "PGHOST": "h"}
        )

    assert SECRET not in str(refused.value)
