"""Alerts as a user sets them up: by the API, with processes as they are shipped."""

import httpx
from msgspec import json

from tests.support.cluster import Processes
from tests.support.rabbit import free_ports
from tests.support.sink import Sink, reply
from tests.support.waiting import until

WAIT_SECONDS = 60.0


class Slack:
    """The messages that came to a channel of Slack's shape."""

    def __init__(self, sink: Sink, path: str) -> None:
        self.sink = sink
        self.path = path

    @property
    def texts(self) -> list[str]:
        bodies = [json.decode(one.body) for one in self.sink.requests if one.path == self.path]
        assert all(set(body) == {"text", "unfurl_links", "unfurl_media"} for body in bodies)
        return [str(body["text"]) for body in bodies]

    async def said(self, many: int) -> None:
        async def have_come() -> bool:
            return len(self.texts) >= many

        await until(have_come, f"{many} messages have come", within=WAIT_SECONDS)


async def put(api: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    answer = await api.put(f"/v1/{path}", json=body)
    assert answer.status_code == 201, answer.text


async def runs(sink: Sink, path: str, many: int) -> None:
    """Wait until a target was called so many times more."""
    before = sum(one.path == path for one in sink.requests)

    async def has_run() -> bool:
        return sum(one.path == path for one in sink.requests) >= before + many

    await until(has_run, f"{path} is called", within=WAIT_SECONDS)


async def test_a_target_that_breaks_and_a_cron_that_stops_pinging_are_heard_of(
    processes: Processes, sink: Sink
) -> None:
    [port] = free_ports(1)
    server = await processes.start("api", port=port)
    await processes.instance()
    await server.says("serving")
    ops, watch = Slack(sink, "/slack"), Slack(sink, "/watch")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as api:
        for name in ("slack", "watch"):
            target = {"url": sink.url(f"/{name}")}
            await put(api, f"alerts/channels/{name}", {"preset": "slack", "target": target})
        rule = {"events": ["failed", "recovered"], "after": 3, "channels": ["slack"]}
        await put(api, "alerts/rules/three", rule | {"job": None})
        rule = {"events": ["missed", "recovered"], "channels": ["watch"]}
        await put(api, "alerts/rules/watched", rule)
        job = {"kind": "http", "target": {"url": sink.url("/report")}, "every_seconds": 0.3}
        await put(api, "jobs/report", job | {"max_attempts": 1})
        check = {"kind": "check", "target": {"grace_seconds": 1}, "every_seconds": 3}
        await put(api, "jobs/backup", check)
        ping = (await api.post("/v1/checks/backup/token")).json()["path"]
        assert (await api.get(ping)).status_code == 200

        await runs(sink, "/report", 4)
        sink.on("/report", reply(500))
        await ops.said(1)
        await runs(sink, "/report", 8)
        assert len(ops.texts) == 1
        sink.on("/report", reply(200))
        await ops.said(2)
        await watch.said(1)
        assert (await api.get(ping)).status_code == 200
        await watch.said(2)
        await runs(sink, "/report", 4)

    assert ops.texts[0].startswith(":rotating_light: report failed 3 times in a row: the target")
    assert ops.texts[1].startswith(":white_check_mark: report recovered after trouble since ")
    assert len(ops.texts) == 2
    assert watch.texts[0].startswith(":rotating_light: backup missed runs")
    assert watch.texts[1].startswith(":white_check_mark: backup recovered")
