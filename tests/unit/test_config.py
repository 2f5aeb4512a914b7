"""Settings are read once, checked at once, and never show a secret."""

from pathlib import Path

import pytest
from msgspec.structs import fields

from app.config import Settings
from app.errors import InvalidSettings

NEW_KEY = "kJ3vX0y1u/9Qw+5Zt7r2s4a6d8f0g1h3j5l7n9p1b3c="
OLD_KEY = "Zt7r2s4a6d8f0g1h3j5l7n9p1b3ckJ3vX0y1u_9Qw-5"


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_environ({})

    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.concurrency == 100
    assert settings.lease_seconds == 60
    assert settings.longest_sleep_seconds == 30
    assert settings.grace_seconds == 30
    assert settings.retention_days == 30
    assert settings.secret_keys == ()
    assert settings.allow_private_targets is False
    assert (settings.log_level, settings.log_format) == ("info", "auto")
    assert settings.tzdata == "auto"
    assert settings.data_dir == Path(".tocsin")


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("TOCSIN_DATABASE_URL", "postgres://h/d", "database_url", "postgres://h/d"),
        ("TOCSIN_HOST", "::", "host", "::"),
        ("TOCSIN_PORT", "0", "port", 0),
        ("TOCSIN_CONCURRENCY", "7", "concurrency", 7),
        ("TOCSIN_LEASE_SECONDS", "3", "lease_seconds", 3.0),
        ("TOCSIN_LONGEST_SLEEP_SECONDS", "0.5", "longest_sleep_seconds", 0.5),
        ("TOCSIN_GRACE_SECONDS", "0", "grace_seconds", 0.0),
        ("TOCSIN_ROOT_PATH", "/ops/tocsin", "root_path", "/ops/tocsin"),
        ("TOCSIN_TITLE", "production", "title", "production"),
        ("TOCSIN_COLOR", "red", "color", "red"),
        (
            "TOCSIN_TRACE_URL",
            "https://j/?id={execution_id}",
            "trace_url",
            "https://j/?id={execution_id}",
        ),
        ("TOCSIN_RATE_LIMIT", "600", "rate_limit", 600),
        ("TOCSIN_CONNECTIONS_PER_CLIENT", "0", "connections_per_client", 0),
        ("TOCSIN_TRUSTED_PROXIES", "::1, 10.0.0.0/8", "trusted_proxies", ("::1", "10.0.0.0/8")),
        ("TOCSIN_RETENTION_DAYS", "365", "retention_days", 365),
        ("TOCSIN_SECRET_KEYS", f"{NEW_KEY}, {OLD_KEY},", "secret_keys", (NEW_KEY, OLD_KEY)),
        ("TOCSIN_ALLOW_PRIVATE_TARGETS", "True", "allow_private_targets", True),
        ("TOCSIN_ALLOWED_TARGETS", "a.example, ::1", "allowed_targets", ("a.example", "::1")),
        ("TOCSIN_DENIED_TARGETS", "*", "denied_targets", ("*",)),
        ("TOCSIN_ALLOWED_PORTS", "443,8000-8999", "allowed_ports", ("443", "8000-8999")),
        ("TOCSIN_NAME_SERVERS", "::1,10.0.0.2:53", "name_servers", ("::1", "10.0.0.2:53")),
        ("TOCSIN_TZDATA", "system", "tzdata", "system"),
        ("TOCSIN_LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("TOCSIN_LOG_FORMAT", "json", "log_format", "json"),
        ("TOCSIN_ACCESS_LOG_LEVEL", "INFO", "access_log_level", "info"),
        ("TOCSIN_LOG_EXECUTIONS", "a, tag:b,*", "log_executions", ("a", "tag:b", "*")),
        ("TOCSIN_METRICS_PORT", "9100", "metrics_port", 9100),
        ("TOCSIN_HEALTH_PORT", "9101", "health_port", 9101),
        ("TOCSIN_HEARTBEAT_URL", "https://h/x", "heartbeat_url", "https://h/x"),
        ("TOCSIN_HEARTBEAT_SECONDS", "10", "heartbeat_seconds", 10.0),
        ("TOCSIN_HEARTBEAT_LATE_SECONDS", "5", "heartbeat_late_seconds", 5.0),
        ("TOCSIN_DATA_DIR", "/srv/tocsin", "data_dir", Path("/srv/tocsin")),
    ],
)
def test_every_setting_is_read_from_its_variable(
    variable: str, value: str, field: str, expected: object
) -> None:
    settings = Settings.from_environ({variable: value})

    assert getattr(settings, field) == expected


def test_the_table_above_has_every_setting() -> None:
    table = next(
        mark
        for mark in test_every_setting_is_read_from_its_variable.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )

    assert [case[2] for case in table.args[1]] == [field.name for field in fields(Settings)]


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("TOCSIN_PORT", "65536", "a number from 0 to 65535"),
        ("TOCSIN_PORT", "http", "a number from 0 to 65535"),
        ("TOCSIN_CONCURRENCY", "0", "a number from 1 to 10000"),
        ("TOCSIN_CONCURRENCY", "1.5", "a number from 1 to 10000"),
        ("TOCSIN_LEASE_SECONDS", "2.9", "seconds from 3 to 3600"),
        ("TOCSIN_LEASE_SECONDS", "nan", "seconds from 3 to 3600"),
        ("TOCSIN_LONGEST_SLEEP_SECONDS", "31", "seconds from 0.1 to 30"),
        ("TOCSIN_GRACE_SECONDS", "inf", "seconds from 0 to 3600"),
        ("TOCSIN_ROOT_PATH", "tocsin/", "a path such as /tocsin"),
        ("TOCSIN_TRACE_URL", "https://j/", "a URL with {execution_id} in it"),
        ("TOCSIN_COLOR", "#f00", "red, orange, green, blue or purple"),
        ("TOCSIN_ROOT_PATH", "//host", "a path such as /tocsin"),
        ("TOCSIN_RETENTION_DAYS", "0", "days from 1 to 36500"),
        ("TOCSIN_ALLOW_PRIVATE_TARGETS", "maybe", "true or false"),
        ("TOCSIN_TZDATA", "newest", "auto, system, package or the path"),
        ("TOCSIN_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("TOCSIN_LOG_FORMAT", "xml", "auto, text or json"),
        ("TOCSIN_ACCESS_LOG_LEVEL", "loud", "off, debug, info, warning or error"),
        ("TOCSIN_DATABASE_URL", "mysql://h/d", "an address such as postgresql://"),
    ],
)
def test_a_bad_value_names_the_variable_the_value_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environ({variable: value})

    message = str(refused.value)
    assert variable in message
    assert repr(value) in message
    assert allowed in message


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environ({"TOCSIN_PORT": "-1", "TOCSIN_LOG_LEVEL": "loud"})

    assert "TOCSIN_PORT" in str(refused.value)
    assert "TOCSIN_LOG_LEVEL" in str(refused.value)


def test_a_mistyped_variable_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InvalidSettings, match=r"TOCSIN_LEASE_SECOND is .*TOCSIN_LEASE_SECONDS\?"):
        Settings.from_environ({"TOCSIN_LEASE_SECOND": "60"})


def test_a_variable_like_no_other_is_refused_with_a_list_of_all() -> None:
    with pytest.raises(InvalidSettings, match=r"TOCSIN_XYZZY is .*TOCSIN_PORT.*TOCSIN_DATA_DIR"):
        Settings.from_environ({"TOCSIN_XYZZY": "1"})


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.from_environ({"PORT": "1", "XTOCSIN_PORT": "2"}) == Settings()


def test_an_empty_variable_counts_as_not_given() -> None:
    assert Settings.from_environ({"TOCSIN_PORT": "", "TOCSIN_SECRET_KEYS": ""}) == Settings()


def test_an_override_wins_over_the_environment_unless_it_is_none() -> None:
    settings = Settings.from_environ(
        {"TOCSIN_PORT": "1", "TOCSIN_HOST": "::1"}, port=2, host=None, data_dir="here"
    )

    assert (settings.port, settings.host, settings.data_dir) == (2, "::1", Path("here"))


def test_a_bad_override_is_named_as_its_giver_calls_it() -> None:
    with pytest.raises(InvalidSettings, match=r"^port cannot be 70000; it takes a number"):
        Settings.from_environ({}, port=70_000)


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_environ(
        {
            "TOCSIN_SECRET_KEYS": NEW_KEY,
            "TOCSIN_DATABASE_URL": "postgresql://me:s3cret@db:5432/tocsin",
            "TOCSIN_HEARTBEAT_URL": "https://beats.example/s3cret",
        }
    )

    assert NEW_KEY not in repr(settings)
    assert "s3cret" not in repr(settings)
    assert "postgresql://me:***@db:5432/tocsin" in repr(settings)


def test_a_bad_url_of_the_heartbeat_is_refused_unseen() -> None:
    with pytest.raises(InvalidSettings, match="an http or https URL") as refused:
        Settings.from_environ({"TOCSIN_HEARTBEAT_URL": "beats.example/s3cret"})

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("key", ["hush", NEW_KEY[:-2], f"{NEW_KEY}{OLD_KEY}", f"{NEW_KEY},hush"])
def test_a_bad_secret_key_is_refused_unseen_with_how_to_make_one(key: str) -> None:
    with pytest.raises(InvalidSettings, match=r"head -c 32 /dev/urandom \| base64") as refused:
        Settings.from_environ({"TOCSIN_SECRET_KEYS": key})

    assert key not in str(refused.value)


def test_a_refused_address_does_not_show_its_password() -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environ({"TOCSIN_DATABASE_URL": "mysql://me:s3cr@t@db/tocsin"})

    assert "s3cr" not in str(refused.value)
    assert "mysql://me:***@db/tocsin" in str(refused.value)


def test_a_command_that_needs_postgres_says_which_variable_is_missing() -> None:
    with pytest.raises(InvalidSettings, match=r"TOCSIN_DATABASE_URL is not set.*postgresql://"):
        Settings.from_environ({}).required_database_url()


LINKS = {
    # A Service called `tocsin` with the ports http and 9090, and one called `tocsin-api`.
    "TOCSIN_SERVICE_HOST": "10.96.12.7",
    "TOCSIN_SERVICE_PORT": "8080",
    "TOCSIN_SERVICE_PORT_HTTP": "8080",
    "TOCSIN_SERVICE_PORT_METRICS_V2": "9090",
    "TOCSIN_PORT": "tcp://10.96.12.7:8080",
    "TOCSIN_PORT_8080_TCP": "tcp://10.96.12.7:8080",
    "TOCSIN_PORT_8080_TCP_PROTO": "tcp",
    "TOCSIN_PORT_8080_TCP_PORT": "8080",
    "TOCSIN_PORT_8080_TCP_ADDR": "10.96.12.7",
    "TOCSIN_PORT_53_UDP": "udp://[fd00::7]:53",
    "TOCSIN_PORT_132_SCTP_ADDR": "fd00::7",
    "TOCSIN_API_SERVICE_HOST": "10.96.12.8",
    "TOCSIN_API_PORT": "tcp://10.96.12.8:80",
    "TOCSIN_API_PORT_80_TCP_ADDR": "10.96.12.8",
    "TOCSIN_HOST_SERVICE_PORT": "80",
    # A container linked as `tocsin`, and one of compose's first version.
    "TOCSIN_NAME": "/web/tocsin",
    "TOCSIN_ENV_POSTGRES_PASSWORD": "s3cret",
    "TOCSIN_ENV_LANG": "C.UTF-8",
    "TOCSIN_DB_1_NAME": "/web/tocsin_db_1",
    "TOCSIN_DB_1_ENV_PGDATA": "/var/lib/postgresql/data",
    "TOCSIN_PORT_8000_8010_TCP_PORT_START": "8000",
    "TOCSIN_PORT_8000_8010_TCP_END": "tcp://172.17.0.5:8010",
}


@pytest.mark.parametrize("variable", LINKS)
def test_what_kubernetes_and_docker_say_of_a_service_of_our_name_is_ignored(variable: str) -> None:
    assert Settings.from_environ({variable: LINKS[variable]}) == Settings()


def test_all_that_they_say_is_ignored_beside_settings() -> None:
    assert Settings.from_environ(LINKS | {"TOCSIN_HOST": "::1"}) == Settings(host="::1")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TOCSIN_PORT", "http://h:80", "a number from 0 to 65535"),
        ("TOCSIN_PROT", "8080", r"did you mean TOCSIN_PORT\?"),
        ("TOCSIN_NAME", "mine", "TOCSIN_NAME is not a setting"),
        ("TOCSIN_SERVICE_HOSTS", "10.96.12.7", "TOCSIN_SERVICE_HOSTS is not a setting"),
        ("TOCSIN_API_PORT", "8080", r"did you mean TOCSIN_PORT\?"),
    ],
)
def test_what_only_looks_like_it_is_refused_as_ever(variable: str, value: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        Settings.from_environ({variable: value})


def test_what_commands_of_the_api_read_may_be_set_where_others_run() -> None:
    given = {"TOCSIN_URL": "https://tocsin.example.com", "TOCSIN_API_KEY": "x", "TOCSIN_PORT": "1"}

    assert Settings.from_environ(given).port == 1
