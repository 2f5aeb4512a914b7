"""The forms of the dashboard, sent as a browser without JavaScript sends them."""

import asyncio
import html
import json
import re

import asyncpg
import httpx
import pytest

from app.api import kept_answers
from tests.support.api import NIGHTLY


def fields(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))


@pytest.mark.parametrize("changed", [{"action": "run"}, {"q": "name:b"}])
async def test_only_what_was_counted_is_done_with_many(
    api: httpx.AsyncClient, connection: asyncpg.Connection, changed: dict[str, str]
) -> None:
    for name in ("a", "b"):
        await api.put(f"/v1/jobs/{name}", json=NIGHTLY)
    form = {"of": "jobs", "q": "name:a", "action": "pause"}
    form |= fields(await api.post("/bulk/new", data=form | {"do": "count"})) | {"do": "do"}

    refused = await api.post("/bulk/new", data=form | changed)
    assert (refused.status_code, "not what was counted" in refused.text) == (422, True)
    assert await connection.fetchval("select count(*) from tocsin.bulk_actions") == 0

    done = await api.post("/bulk/new", data=form | changed | fields(refused))
    assert done.status_code == 303, done.text
    assert await connection.fetchval("select count(*) from tocsin.bulk_actions") == 1


async def test_json_of_an_unknown_kind_stays_as_it_was_typed(api: httpx.AsyncClient) -> None:
    form = {"as": "json", "do": "form", "json": '{"kind": "htpp", "target": {}}'}

    shown = await api.post("/new-job", data=form)

    assert shown.status_code == 422
    assert "htpp&#34;, &#34;target" in shown.text
    assert "did you mean http?" in shown.text


@pytest.mark.parametrize("address", ["/new-job/preview", "/new-job", "/bulk/new", "/sign-in"])
@pytest.mark.parametrize("parameters", ["", "; boundary=", "; boundary=a"])
async def test_what_is_no_form_is_refused(
    api: httpx.AsyncClient, address: str, parameters: str
) -> None:
    headers = {"Content-Type": f"multipart/form-data{parameters}"}

    refused = await api.post(address, content=b"--a\r\nno form", headers=headers)

    assert (refused.status_code, "<h1>" in refused.text) == (400, True)


async def test_what_is_done_with_jobs_is_not_done_with_executions(api: httpx.AsyncClient) -> None:
    await api.put("/v1/jobs/a", json=NIGHTLY)

    refused = await api.post("/bulk/new", data={"of": "executions", "action": "delete"})

    assert (refused.status_code, "Is not chosen" in refused.text) == (422, True)


async def test_a_part_of_a_page_is_refused_and_not_led_to_sign_in(api: httpx.AsyncClient) -> None:
    await api.post("/v1/keys", json={"name": "ops", "scopes": ["admin"]})

    whole = await api.get("/jobs")
    part = await api.post("/new-job/preview", headers={"HX-Request": "true"})

    assert (whole.status_code, part.status_code) == (303, 401)


async def test_a_large_job_is_created_and_edited(api: httpx.AsyncClient) -> None:
    values = ["x" * 100] * 200
    target = {"url": "http://h/", "json": values}
    form = {"as": "json", "do": "save", "json": json.dumps(NIGHTLY | {"target": target})}

    created = await api.post("/new-job", data=form)
    address = created.headers["Location"].partition("?")[0]
    seen = html.unescape(fields(await api.get(f"{address}/edit"))["seen"])
    values.append("more")
    form["json"] = json.dumps(NIGHTLY | {"target": target})
    saved = await api.post(f"{address}/edit", data=form | {"seen": seen})

    assert (created.status_code, saved.headers["Location"]) == (303, f"{address}?done=saved")
    assert (await api.get(f"/v1{address}")).json()["target"] == target


async def test_a_form_that_is_sent_twice_acts_once(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    id = (await api.put("/v1/jobs/a", json=NIGHTLY)).json()["id"]
    runs = "select count(*) from tocsin.jobs where run_of is not null"

    async def twice(address: str, form: dict[str, str]) -> None:
        first, second = await asyncio.gather(*(api.post(address, data=form) for _ in range(2)))
        assert (first.status_code, second.status_code) == (303, 303), second.text
        assert first.headers["Location"] == second.headers["Location"]

    key = fields(await api.get(f"/jobs/{id}"))
    await twice(f"/jobs/{id}/run", key)
    assert await connection.fetchval(runs) == 1
    await twice(f"/jobs/{id}/run", fields(await api.get(f"/jobs/{id}")))  # another page is meant so
    assert await connection.fetchval(runs) == 2

    new = {"how": "cron", "cron": "0 3 * * *", "target.url": "http://h/", "do": "save"}
    shown = fields(await api.get("/new-job"))
    checked = await api.post("/new-job", data=shown | new | {"do": "check", "cron": "61 * * * *"})
    assert checked.status_code == 200  # which keeps nothing
    await twice("/new-job", shown | new)
    await twice("/new-job", shown | new | {"name": "of-the-same-page"})
    assert await connection.fetchval("select count(*) from tocsin.jobs where run_of is null") == 3

    many = {"of": "jobs", "q": "name:a", "action": "pause"}
    many |= fields(await api.post("/bulk/new", data=many | {"do": "count"})) | {"do": "do"}
    await twice("/bulk/new", many)
    assert await connection.fetchval("select count(*) from tocsin.bulk_actions") == 1

    gone = fields(await api.get(f"/jobs/{id}/delete"))
    gone = {name: html.unescape(one) for name, one in gone.items()} | {"typed": "a"}
    await twice(f"/jobs/{id}/delete", gone)
    kept = "select count(*) from tocsin.idempotency_keys where status <> 303"
    assert await connection.fetchval(kept) == 0


async def test_a_form_that_was_answered_is_refused_once_its_key_may_only_look(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.access.TRUSTED_SECONDS", 0.0)
    id = (await api.put("/v1/jobs/a", json=NIGHTLY)).json()["id"]
    made = await api.post("/v1/keys", json={"name": "k", "scopes": ["read", "write"]})
    signed = {"Authorization": f"Bearer {made.json()['key']}"}
    form = fields(await api.get(f"/jobs/{id}", headers=signed))
    done = await api.post(f"/jobs/{id}/run", data=form, headers=signed)
    await connection.execute("update tocsin.api_keys set scopes = '{read}'")

    refused = await api.post(f"/jobs/{id}/run", data=form, headers=signed)

    assert (done.status_code, refused.status_code) == (303, 403)
    assert "may only look" in refused.text


async def test_programs_and_forms_with_the_same_key_leave_each_other_room(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_answers, "MAX_KEPT", 1)
    monkeypatch.setattr(kept_answers, "MAX_OF_FORMS", 4)
    id = (await api.put("/v1/jobs/a", json=NIGHTLY)).json()["id"]
    runs = "select count(*) from tocsin.jobs where run_of is not null"

    forms = [fields(await api.get(f"/jobs/{id}")) for _ in range(7)]
    sent = [await api.post(f"/jobs/{id}/run", data=form) for form in forms]
    programs = [
        await api.post(f"/v1/jobs/{id}/run", headers={"Idempotency-Key": text})
        for text in ("one", "two")
    ]
    again = await api.post(f"/jobs/{id}/run", data=forms[-1])

    assert {one.status_code for one in (*sent, again)} == {303}
    assert [one.status_code for one in programs] == [202, 429]
    assert await connection.fetchval(runs) == 7 + 1, "the newest forms still act once"
    kept = await connection.fetch(
        """select owner, count(*) from tocsin.idempotency_keys
        where at > now() - interval '24 h' group by 1 order by 1"""
    )
    assert [tuple(row) for row in kept] == [("forms of loopback", 3), ("loopback", 1)]


async def test_a_form_notes_an_instant_that_has_passed_and_the_set_that_undoes_it(
    api: httpx.AsyncClient,
) -> None:
    job = {key: value for key, value in NIGHTLY.items() if key not in {"kind", "target"}}
    applied = await api.post(
        "/v1/jobs/apply",
        json={"set": "billing", "jobs": {"a": job | {"http": {"url": "http://h/"}}}},
    )
    assert applied.status_code == 200, applied.text
    await api.put("/v1/jobs/b", json=NIGHTLY)
    once = {"how": "once", "kind": "http", "timezone": "UTC", "target.url": "http://h/"}

    texts = {}
    for at in ("2020-01-01T03:00:00", "2100-01-01T03:00:00"):
        texts[at] = (await api.post("/new-job", data=once | {"at": at, "do": "check"})).text
    pages = [(await api.get(f"/jobs/{name}")).text for name in ("a", "a/edit", "b", "b/edit")]
    read = [(await api.get(f"/v1/jobs/{name}")).json() for name in ("a", "b")]
    back = await api.put("/v1/jobs/a", json=read[0])

    assert ["That instant has passed" in text for text in texts.values()] == [True, False]
    assert ["of its files undoes changes made here" in text for text in pages] == [
        *(True, True, False, False)
    ]
    assert [one.get("set") for one in read] == ["billing", None]
    assert (back.status_code, back.json()["id"]) == (200, read[0]["id"])
