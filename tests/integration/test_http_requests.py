"""What whoever counts HTTP requests to targets is told of each."""

from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, attempt
from tests.support.sink import Sink, cut, hang, reply

SHORT_SECONDS = 0.3


async def test_each_request_is_told_with_how_it_ended(sink: Sink) -> None:
    told: list[tuple[str, int | None, str | None, float]] = []

    def note(method: str, status: int | None, error: str | None, seconds: float, /) -> None:
        told.append((method, status, error, seconds))

    moved = sink.on("/moved", reply(307, headers={"Location": "/busy"}))
    sink.on("/busy", reply(503))
    half = sink.on("/half", cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"))
    slow = sink.on("/slow", hang)
    async with Executors(egress=NEARBY, note_request=note) as executors:

        async def send(within: float = 10.0, **target: object) -> None:
            await executors.execute("http", decode_target("http", target), attempt(within=within))

        await send(url=moved, method="put", follow_redirects=True)
        await send(url=half)
        await send(url=slow, within=SHORT_SECONDS)
        await send(url="http://127.0.0.1:1/nothing-listens-here")

    assert [one[:3] for one in told] == [
        ("PUT", 307, None),
        ("PUT", 503, None),
        ("POST", 200, "closed"),
        ("POST", None, "timeout"),
        ("POST", None, "connect"),
    ]
    assert told[3][3] >= SHORT_SECONDS * 0.9
    assert all(0 < seconds < 10 for *_, seconds in told)
