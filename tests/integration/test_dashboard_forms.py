"""The forms of the dashboard, sent as a browser without JavaScript sends them."""

import html
import json
import re

import asyncpg
import httpx
import pytest

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

    shown = await api.post("/jobs/new", data=form)

    assert shown.status_code == 422
    assert "htpp&#34;, &#34;target" in shown.text
    assert "did you mean http?" in shown.text


@pytest.mark.parametrize("address", ["/jobs/preview", "/jobs/new", "/bulk/new", "/sign-in"])
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
    part = await api.post("/jobs/preview", headers={"HX-Request": "true"})

    assert (whole.status_code, part.status_code) == (303, 401)


async def test_a_large_job_is_created_and_edited(api: httpx.AsyncClient) -> None:
    values = ["x" * 100] * 200
    target = {"url": "http://h/", "json": values}
    form = {"as": "json", "do": "save", "json": json.dumps(NIGHTLY | {"target": target})}

    created = await api.post("/jobs/new", data=form)
    address = created.headers["Location"].partition("?")[0]
    seen = html.unescape(fields(await api.get(f"{address}/edit"))["seen"])
    values.append("more")
    form["json"] = json.dumps(NIGHTLY | {"target": target})
    saved = await api.post(f"{address}/edit", data=form | {"seen": seen})

    assert (created.status_code, saved.headers["Location"]) == (303, f"{address}?done=saved")
    assert (await api.get(f"/v1{address}")).json()["target"] == target
