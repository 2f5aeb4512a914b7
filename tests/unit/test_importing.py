"""Crontabs, and rows of other schedulers, as jobs."""

from typing import Any

import pytest

from app.core.importing.calls import call_of
from app.core.importing.crontab import imported_crontab
from app.core.importing.programs import NotACall
from app.core.importing.result import Secrets
from app.core.importing.tables import imported_go_scheduler, imported_pg_cron

URL = "https://example.com/x"
ONCE = {"max_attempts": 1, "misfire": "skip", "overlap": "allow_all"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"curl {URL}", {"method": "GET"}),
        (f"/usr/bin/curl -fsS -o /dev/null '{URL}' > /dev/null 2>&1", {"method": "GET"}),
        (f"curl -fsSL -m 10 {URL} >> /var/log/x.log 2>&1 || true",
         {"method": "GET", "follow_redirects": True}),
        (f"curl -X PUT {URL}", {"method": "PUT"}),
        (f"curl -I {URL}", {"method": "HEAD"}),
        (f"curl -d a=1 --data b=2 {URL}", {"method": "POST", "body": "a=1&b=2", "headers": FORM}),
        (f"curl -XPOST -d '{{\"n\": 1}}' -H 'Content-Type: application/json' {URL}",
         {"method": "POST", "body": '{"n": 1}', "headers": {"Content-Type": "application/json"}}),
        (f"curl --json '[1]' {URL}",
         {"method": "POST", "body": "[1]", "headers": {"Content-Type": "application/json"}}),
        (f"curl --data-urlencode 'q=a b' {URL}",
         {"method": "POST", "body": "q=a+b", "headers": FORM}),
        (f"curl --data-urlencode '=a&b' --data-urlencode 'a@b=c' {URL}",
         {"method": "POST", "body": "a%26b&a@b=c", "headers": FORM}),
        (f"curl -d \"it's $A\" -d \"b's\" -d '$A' {URL}2>/dev/null",
         {"url": f"{URL}2", "method": "POST", "body": "it's 7&b's&$A", "headers": FORM}),
        (f"curl -g '{URL}/{{a}}'", {"url": f"{URL}/{{a}}", "method": "GET"}),
        (f"curl -k {URL}", {"method": "GET", "verify_tls": False}),
        (f"curl -u ann:hunter2 {URL}",
         {"method": "GET", "auth": {"type": "basic", "username": "ann",
                                    "password": "${secret:example-com-password}"}}),
        (f"curl -H 'Authorization: Bearer hunter2' {URL}",
         {"method": "GET", "auth": {"type": "bearer", "token": "${secret:example-com-token}"}}),
        (f"curl -H 'X-Api-Key: hunter2' {URL}",
         {"method": "GET", "headers": {"X-Api-Key": "${secret:example-com-x-api-key}"}}),
        (f"wget -q -O - {URL}", {"method": "GET", "follow_redirects": True}),
        (f"wget -qO- --post-data 'a=1' --header 'X-Team: b' {URL}",
         {"method": "POST", "body": "a=1", "follow_redirects": True,
          "headers": {"X-Team": "b"} | FORM}),
        (f"wget -nv --spider {URL}", {"method": "HEAD", "follow_redirects": True}),
        (f"curl {URL} # it's 'so'", {"method": "GET"}),
        (f"curl '{URL}'#a", {"url": f"{URL}#a", "method": "GET"}),
        (f"curl -b 'sid=hunter2; a=b' {URL}",
         {"method": "GET", "headers": {"Cookie": "${secret:example-com-cookie}"}}),
        (f"wget --http-user ann --http-password hunter2 --no-check-certificate {URL}",
         {"method": "GET", "follow_redirects": True, "verify_tls": False,
          "auth": {"type": "basic", "username": "ann",
                   "password": "${secret:example-com-password}"}}),
    ],
)  # fmt: skip
def test_a_command_line_is_the_request_that_it_makes(
    command: str, expected: dict[str, Any]
) -> None:
    target, _, notes = call_of(command, stdin=None, variables={"A": "7"}, secrets=Secrets())

    assert target == {"url": URL} | expected
    assert "hunter2" not in f"{target}{notes}"
    assert ("secret" in str(notes)) is ("secret:" in str(target))


def test_parts_of_an_address_and_numbers_of_options_are_kept() -> None:
    target, fields, _ = call_of(
        "curl -G -d 'q=1' --retry 3 --max-time 90 https://ann:hunter2@example.com/x?a=b",
        stdin=None,
        variables={},
        secrets=Secrets(),
    )

    assert target["url"] == "https://example.com/x?a=b&q=1"
    assert target["auth"]["username"] == "ann"
    assert fields == {"max_attempts": 4, "timeout_seconds": 90}


@pytest.mark.parametrize(
    ("before", "fields"),
    [
        ("timeout 90", {"timeout_seconds": 90}),
        ("/usr/bin/timeout -k 5 2m", {"timeout_seconds": 120}),
        ("flock -n /run/x", {"overlap": "skip"}),
        ("flock -xn /run/x", {"overlap": "skip"}),
        ("flock /run/x", {"overlap": "buffer_all"}),
        ("timeout --signal KILL 90", {"timeout_seconds": 90}),
        ("env -u A exec -a b", {}),
        ("nice -n 10 ionice -c 3", {}),
        ("env A=1 B=2 nohup", {}),
        ("flock -w 5 /run/x timeout 0", {"overlap": "buffer_all"}),
    ],
)
def test_what_runs_the_call_is_taken_off_and_says_what_it_means(
    before: str, fields: dict[str, Any]
) -> None:
    target, found, _ = call_of(f"{before} curl {URL}", stdin=None, variables={}, secrets=Secrets())

    assert (target["url"], found) == (URL, fields)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/usr/bin/backup.sh", "runs backup.sh"),
        ("timeout 90", "which is missing"),
        (f"timeout soon curl {URL}", "no duration"),
        ("flock -n /run/x /usr/bin/backup.sh", "runs backup.sh"),
        (f"curl -b jar {URL}", "only its machine has"),
        (f"curl {URL} | mail ops@example.com", "needs a shell"),
        (f"cd /srv && curl {URL}", "needs a shell"),
        (f"curl {URL}?d=$(date)", "a date can be a template"),
        (f'curl "{URL}?d=$(date)"', "needs a shell"),
        (f"curl {URL}?t=$TOKEN", "TOKEN"),
        (f"curl {URL}?pid=$$", "needs a shell"),
        (f'curl "{URL}/${{HOST:-a}}"', "needs a shell"),
        (f"curl --data-urlencode a@/srv/a {URL}", "/srv/a"),
        (f"curl -F a=@b {URL}", "--form"),
        (f"curl -d @/srv/body.json {URL}", "/srv/body.json"),
        (f"curl --max-time soon {URL}", "soon"),
        (f"curl {URL} {URL}", "2 addresses"),
        ("curl 'http://[x/'", "no address"),
        (f"curl '{URL}/[1-3]'", "of a pattern"),
        (f"curl '{URL}/{{a,b}}'", "of a pattern"),
        ("curl -X", "no value"),
        (f"curl '{URL}", "quotes"),
        (f"wget -r {URL}", "-r"),
        ("", "nothing"),
    ],
)
def test_a_command_that_is_no_request_is_told_why(command: str, why: str) -> None:
    with pytest.raises(NotACall, match=why.replace("(", r"\(")):
        call_of(command, stdin=None, variables={}, secrets=Secrets())


CRONTAB = """
# m h dom mon dow command
SHELL=/bin/bash
HOST="https://example.com"
MAILTO=ops@example.com

# Send the invoices
0 3 * * 1-5 curl -fsS -X POST $HOST/invoices
*/5 * * * *\tcurl $HOST/ping >/dev/null 2>&1
@reboot curl $HOST/up
@Daily wget -q $HOST/daily
CRON_TZ=Europe/Paris
MAILTO=""
0 9 * * mon curl -d @- $HOST/ping%{"a": "50\\%"}%second
30 2 * * * /usr/local/bin/backup.sh
not a line
"""


def test_a_crontab_becomes_jobs_and_a_list_of_what_cannot_be_one() -> None:
    found = imported_crontab(CRONTAB, with_users=False)

    assert {name: one["cron"] for name, one in found.jobs.items()} == {
        "send-the-invoices": "0 3 * * 1-5",
        "ping": "*/5 * * * *",
        "daily": "@daily",
        "ping-2": "0 9 * * mon",
    }
    assert found.jobs["send-the-invoices"] == {
        "description": "Send the invoices",
        "cron": "0 3 * * 1-5",
        **ONCE,
        "http": {"url": "https://example.com/invoices", "method": "POST"},
        "tags": ["crontab", "mailto:ops@example.com"],
    }
    assert found.jobs["ping-2"]["timezone"] == "Europe/Paris"
    assert found.jobs["ping-2"]["tags"] == ["crontab"]
    assert found.jobs["ping-2"]["http"]["body"] == '{"a": "50%"}second'
    assert [(one.line, one.why.split()[0]) for one in found.left] == [
        (10, "runs"),
        (15, "runs"),
        (16, "has"),
    ]
    assert found.rules == {
        "cron-mail-ops-example-com": {
            "events": ["failed", "recovered"],
            "tag": "mailto:ops@example.com",
            "channels": [],
        }
    }


def test_days_that_cron_reads_in_another_way_are_left_out() -> None:
    crons = ["0 0 */2 * 1", "0 0 1-7 * */2", "0 0 1-7 * 1", "0 0 */2 * *", "0 0 * * 1"]

    found = imported_crontab("\n".join(f"{one} curl {URL}" for one in crons), with_users=False)
    rows = [
        {"jobname": one, "schedule": one, "command": f"select net.http_get('{URL}')"}
        for one in crons
    ]

    assert [one["cron"] for one in found.jobs.values()] == crons[2:]
    assert "both */2 and 1" in found.left[0].why
    assert [one["cron"] for one in imported_pg_cron(rows).jobs.values()] == crons[2:]


def test_a_line_is_carried_out_as_often_as_cron_does() -> None:
    text = f"@daily curl {URL}/a\n@daily curl --retry 2 {URL}/b\n@daily wget --tries=4 {URL}/c\n"

    found = imported_crontab(text, with_users=False)

    assert [one["max_attempts"] for one in found.jobs.values()] == [1, 3, 4]
    assert all(one | ONCE | {"max_attempts": 0} == one | {"max_attempts": 0}
               for one in found.jobs.values())  # fmt: skip


def test_what_all_jobs_have_stands_in_the_file_once() -> None:
    text = f"@daily curl {URL}/a\n@daily curl --retry 2 {URL}/b\n"

    file = imported_crontab(text, with_users=False).document("x", timezone="Europe/Paris")

    assert file["defaults"] == {"timezone": "Europe/Paris", **ONCE}
    assert [one.get("max_attempts") for one in file["jobs"].values()] == [None, 3]
    assert not {"misfire", "overlap"} & {*file["jobs"]["x-a"]}


def test_a_schedule_that_no_job_can_have_is_left_out() -> None:
    text = f"0 25 * * * curl {URL}\n@daily curl {URL}\nCRON_TZ=Europe/Munchen\n@daily curl {URL}"

    found = imported_crontab(text, with_users=False)
    row = {"jobname": "x", "command": f"select net.http_get('{URL}')"}
    rows = imported_pg_cron([row | {"schedule": "61 * * * *"}, row | {"schedule": "$ * * * *"}])
    go = {"id": "a", "type": "HTTP", "http_job": {"url": URL}, "next_run": "2030-01-01T00:00:00Z"}
    of_go = imported_go_scheduler([go | {"cron_schedule": "CRON_TZ=Nowhere 0 3 * * *"}])

    assert [one["cron"] for one in found.jobs.values()] == ["@daily"]
    assert [(one.line, one.why.partition(": ")[2].partition(":")[0]) for one in found.left] == [
        (1, "cron"),
        (4, "timezone"),
    ]
    assert "hour '25': write 0-23" in found.left[0].why
    assert (len(rows.left), rows.jobs, len(of_go.left), of_go.jobs) == (2, {}, 1, {})


def test_a_call_that_cron_would_wait_for_is_noted() -> None:
    waits = imported_crontab(f"@daily curl {URL}", with_users=False)
    does_not = imported_crontab(f"@daily curl -m 300 {URL}", with_users=False)

    assert "30 seconds" in str(waits.notes)
    assert "30 seconds" not in str(does_not.notes)


def test_the_zone_of_a_crontab_is_asked_for_only_where_it_is_not_known() -> None:
    def notes(text: str, timezone: str | None) -> str:
        return str(imported_crontab(text, with_users=False, timezone=timezone).notes)

    without = f"@daily curl {URL}"
    with_both = f"@hourly curl {URL}\nCRON_TZ=Europe/Paris\n@daily curl {URL}"

    assert "give --timezone" in notes(without, None)
    assert "give --timezone" in notes(with_both, None)
    assert "give --timezone" not in notes(without, "Europe/Madrid")
    assert "give --timezone" not in notes(f"CRON_TZ=Europe/Paris\n{without}", None)


@pytest.mark.parametrize(
    "command",
    [
        "curl -sS -u ann:hunter2 https://a.example | jq .",
        "curl -sSuann:hunter2 https://a.example | jq .",
        "curl --user 'ann:hunter2 hunter2' https://a.example | jq .",
        "curl --oauth2-bearer=hunter2 https://a.example | jq .",
        "curl https://ann:hunter2@a.example/x | jq .",
        "curl https://ann:hun/ter2@hunter2@a.example/x | jq .",
        "git pull https://hunter2@a.example/x",
        "curl -H 'Authorization: Bearer hunter2' https://a.example | jq .",
        'curl -H "X-Api-Key:hunter2" https://a.example | jq .',
        "curl -b 'sid=hunter2' https://a.example | jq .",
        'curl -d \'{"password": "hunter2"}\' https://a.example | jq .',
        'curl -d "{\\"token\\": \\"hunter2\\"}" https://a.example | jq .',
        "curl 'https://a.example/?token=hunter2&a=1' | jq .",
        "PGPASSWORD=hunter2 pg_dump shop",
        "mysqldump -uroot -phunter2 shop",
        "mysqldump --password=hunter2 shop",
    ],
)
def test_a_line_that_is_left_out_is_shown_without_its_secrets(command: str) -> None:
    found = imported_crontab(f"@daily {command}\n", with_users=False)

    assert not found.jobs
    assert "hunter2" not in found.left[0].text + found.left[0].why
    assert found.left[0].text.startswith("@daily ")


def test_two_secrets_for_one_host_have_two_names() -> None:
    lines = [f"@daily curl -u {user} {URL}" for user in ("ann:one", "bob:two", "cat:one")]

    found = imported_crontab("\n".join(lines), with_users=False)

    assert [one["http"]["auth"]["password"] for one in found.jobs.values()] == [
        "${secret:example-com-password}",
        "${secret:example-com-password-2}",
        "${secret:example-com-password}",
    ]


def test_a_crontab_of_the_system_has_users() -> None:
    found = imported_crontab(
        f"0 3 * * * root curl {URL}\n@hourly www curl {URL}\n", with_users=True
    )

    assert [one["http"]["url"] for one in found.jobs.values()] == [URL, URL]


def test_pg_cron_rows_become_jobs() -> None:
    def row(name: str, command: str, schedule: str = "0 3 * * *", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"jobname": name, "schedule": schedule, "command": command, "jobid": 7} | more

    found = imported_pg_cron(
        [
            row("posts", """select net.http_post(
                url := 'https://example.com/x', body := '{"it": "''s"}'::jsonb,
                headers := jsonb_build_object(
                    'Content-Type', 'application/json', 'Authorization', 'Bearer hunter2'),
                timeout_milliseconds := 5000) as request_id;"""),
            row("gets", "SELECT net.http_get('https://example.com/x', '{\"a\": 1}')", "30 seconds"),
            row("ends", "select net.http_delete(url => 'https://example.com/x')", "0 0 $ * *",
                active=False),
            row("cleans", "delete from old"),
            row("asks", "select net.http_post(url := (select url from settings), body := '{}')"),
            row("twice", "select net.http_get('a'), net.http_get('b')"),
        ]
    )  # fmt: skip

    assert found.jobs["posts"] == {
        "cron": "0 3 * * *",
        "timeout_seconds": 5,
        **ONCE,
        "http": {
            "url": URL,
            "method": "POST",
            "headers": {"Content-Type": "application/json"},
            "auth": {"type": "bearer", "token": "${secret:example-com-token}"},
            "json": {"it": "'s"},
        },
        "tags": ["pg_cron"],
    }
    assert found.jobs["gets"]["every_seconds"] == 30
    assert found.jobs["gets"]["http"]["url"] == f"{URL}?a=1"
    assert (found.jobs["ends"]["cron"], found.jobs["ends"]["paused"]) == ("0 0 L * *", True)
    assert [one.text for one in found.left] == ["cleans", "asks", "twice"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("delete from old; select net.http_get('https://a.example')", "does more than call"),
        ("select net.http_get('https://a.example') from tenants", "does more than call"),
        ("select net.http_get('https://a.example') where not paused()", "does more than call"),
        ("select net.http_get('https://a.example'); delete from old", "does more than call"),
        ("select net.http_get('https://a.example', null, null, 1, 2)", "only its database"),
        ("select net.http_get('https://a.example', '[1]')", "params of a form"),
        ("select net.http_get('https://a.example', headers := '[1]')", "headers of a form"),
        ("select net.http_get('https://a.example', '{}', '{}', 1, 2)", "more arguments"),
        (
            r"select net.http_post(url := 'https://a.example', body := E'{\"a\": 1}')",
            "only its data",
        ),
    ],
)
def test_a_statement_that_does_more_than_call_is_left_to_pg_cron(command: str, why: str) -> None:
    found = imported_pg_cron([{"jobname": "x", "schedule": "@daily", "command": command}])

    assert not found.jobs
    assert why in found.left[0].why


def test_a_call_of_pg_net_sends_what_pg_net_sends() -> None:
    command = """SELECT * FROM net.http_post(
        'https://example.com/x', params := '{"all": true, "n": 1}') as request"""

    found = imported_pg_cron([{"jobname": "x", "schedule": "@daily", "command": command}])

    assert found.jobs["x"]["http"] == {
        "url": f"{URL}?all=true&n=1",
        "method": "POST",
        "json": {},
    }


def test_rows_of_the_go_scheduler_become_jobs() -> None:
    http = {
        "url": "example.com/x",
        "method": "post",
        "headers": {"X-Team": "a"},
        "body": "hello",
        "valid_response_codes": [],
        "auth": {"type": "basic", "username": "ann", "password": "hunter2"},
    }
    amqp = {
        "connection": "amqp://guest:hunter2@broker:5672/",
        "exchange": "e",
        "routing_key": "k",
        "headers": {"x-delay": 1000},
        "body": "aGk=",
        "body_encoding": "base64",
        "content_type": "text/plain",
    }
    rows: list[dict[str, Any]] = [
        {"id": "11111111-0", "type": "HTTP", "http_job": http, "status": "RUNNING",
         "cron_schedule": "CRON_TZ=Europe/Paris 0 3 * * *", "next_run": "2030-01-01T02:00:00Z"},
        {"id": "22222222-0", "type": "AMQP", "amqp_job": amqp, "status": "STOPPED", "tags": ["t"],
         "execute_at": "2030-01-01T00:00:00Z", "next_run": "2030-01-01T00:00:00Z"},
        {"id": "33333333-0", "type": "HTTP", "http_job": http, "next_run": None,
         "execute_at": "2020-01-01T00:00:00Z"},
    ]  # fmt: skip

    found = imported_go_scheduler(rows)

    assert found.jobs["http-11111111"] | {"description": ""} == {
        "description": "",
        "cron": "CRON_TZ=Europe/Paris 0 3 * * *",
        "http": {
            "url": URL,
            "method": "POST",
            "headers": {"X-Team": "a"},
            "body": "hello",
            "success": [200],
            "auth": {
                "type": "basic",
                "username": "ann",
                "password": "${secret:example-com-password}",
            },
        },
        "tags": ["go-scheduler"],
    }
    amqp_job = found.jobs["amqp-22222222"]
    assert amqp_job["amqp"] == {
        "url": "amqp://guest:${secret:broker-password}@broker:5672/",
        "exchange": "e",
        "routing_key": "k",
        "headers": {"x-delay": 1000},
        "body_base64": "aGk=",
        "content_type": "text/plain",
    }
    assert (amqp_job["paused"], amqp_job["tags"]) == (True, ["t", "go-scheduler"])
    assert [one.text for one in found.left] == ["33333333-0"]
    assert "hunter2" not in str(found)
