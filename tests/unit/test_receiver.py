"""What the receiver of `tocsin-client` decides: signatures, time, size, and what was done."""

import asyncio
import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import pytest
from standardwebhooks import Webhook
from tocsin.receiver import (
    Answer,
    Delivery,
    MemoryStore,
    Receiver,
    Rejected,
    Standing,
    answer,
    answer_awaited,
)
from tocsin.receiver.answers import RUNNING

SECRET, OLD, OTHER = (f"whsec_{b64encode(bytes([n]) * 32).decode()}" for n in range(3))
BODY = b'{"all": true}'
NOW = datetime(2030, 1, 31, 8, 30, tzinfo=UTC)
ID = "0190d5a0-0000-7000-8000-000000000001:2030-01-31T08:30:00Z"


def signed(*secrets: str, body: bytes = BODY, id: str = ID, at: datetime = NOW) -> dict[str, str]:
    signatures = (Webhook(one).sign(id, at, body.decode()) for one in secrets)
    return {
        "Webhook-Id": id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }


def now() -> dict[str, str]:
    return signed(SECRET, at=datetime.now(UTC))


def test_what_is_signed_is_received_with_the_job_and_the_run() -> None:
    delivery = Receiver(SECRET).verify(signed(SECRET), BODY, now=NOW.timestamp())

    assert delivery.json() == {"all": True}
    assert str(delivery.job_id) == ID.partition(":")[0]
    assert delivery.scheduled_for == delivery.sent_at == NOW


@pytest.mark.parametrize(
    ("secrets", "signers"),
    [((SECRET, OLD), (OLD,)), ((SECRET,), (SECRET, OLD)), ((OLD, SECRET), (OTHER, SECRET))],
    ids=["the sender has the old one", "the sender signs with both", "the order is another"],
)
def test_secrets_are_changed_without_a_request_being_lost(
    secrets: tuple[str, ...], signers: tuple[str, ...]
) -> None:
    assert Receiver(*secrets).verify(signed(*signers), BODY, now=NOW.timestamp())


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed(SECRET).items() if key != name}


@pytest.mark.parametrize(
    ("headers", "body", "late"),
    [
        pytest.param(signed(OTHER), BODY, 0, id="another secret"),
        pytest.param(signed(SECRET), BODY + b" ", 0, id="another body"),
        pytest.param(signed(SECRET) | {"Webhook-Id": "other"}, BODY, 0, id="another id"),
        pytest.param(signed(SECRET) | {"Webhook-Timestamp": "1"}, BODY, 0, id="another time"),
        pytest.param(signed(SECRET, id="a.b"), BODY, 0, id="an id that splits elsewhere"),
        pytest.param(signed(SECRET), BODY, 301, id="too old"),
        pytest.param(signed(SECRET), BODY, -301, id="too early"),
        pytest.param(without("Webhook-Id"), BODY, 0, id="no id"),
        pytest.param(without("Webhook-Timestamp"), BODY, 0, id="no time"),
        pytest.param(without("Webhook-Signature"), BODY, 0, id="no signature"),
        pytest.param(signed(SECRET) | {"Webhook-Signature": "v1,é"}, BODY, 0, id="no base64"),
        pytest.param(signed(SECRET) | {"Webhook-Signature": "v1,"}, BODY, 0, id="an empty one"),
        pytest.param(signed(*[OTHER] * 10, SECRET), BODY, 0, id="after too many others"),
    ],
)
def test_what_nobody_with_the_secret_sent_just_now_is_refused(
    headers: dict[str, str], body: bytes, late: float
) -> None:
    with pytest.raises(Rejected) as refusal:
        Receiver(SECRET).verify(headers, body, now=NOW.timestamp() + late)

    assert refusal.value.status == 401


def test_a_large_body_is_refused_before_it_is_signed() -> None:
    with pytest.raises(Rejected) as refusal:
        Receiver(SECRET, max_body_bytes=4).verify({}, BODY)

    assert refusal.value.status == 413


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_short",), (SECRET, "hunter2!")])
def test_no_receiver_is_made_without_a_secret_and_none_is_shown(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="secret") as refusal:
        Receiver(*secrets)

    assert "hunter2" not in str(refusal.value)
    assert SECRET[6:] not in repr(Receiver(SECRET))


@pytest.fixture
def calls() -> list[Delivery]:
    return []


async def ways(receiver: Receiver, work: Callable[[Delivery], object]) -> list[int]:
    """Answer the same request by each way; return the statuses."""
    headers = now()
    return [
        (await asyncio.to_thread(answer, receiver, headers, BODY, work)).status,
        (await answer_awaited(receiver, headers, BODY, work)).status,
    ]


async def test_a_run_is_done_once_whichever_way_it_comes(calls: list[Delivery]) -> None:
    assert await ways(Receiver(SECRET, store=MemoryStore()), calls.append) == [204, 200]
    assert len(calls) == 1


async def test_without_a_store_each_request_is_done(calls: list[Delivery]) -> None:
    assert await ways(Receiver(SECRET), calls.append) == [204, 204]
    assert len(calls) == 2


async def test_a_run_that_failed_may_be_done_by_the_next_attempt() -> None:
    receiver, failures = Receiver(SECRET, store=MemoryStore()), count(1)

    def work(_: Delivery) -> str:
        if next(failures) == 1:
            raise RuntimeError
        return "done"

    headers = now()
    with pytest.raises(RuntimeError):
        await answer_awaited(receiver, headers, BODY, work)

    assert answer(receiver, headers, BODY, work).body == b"done"


async def test_an_attempt_beside_another_is_told_to_come_again() -> None:
    receiver, begun, ending = (
        Receiver(SECRET, store=MemoryStore()),
        asyncio.Event(),
        asyncio.Event(),
    )

    async def work(_: Delivery) -> None:
        begun.set()
        await ending.wait()

    headers = now()
    first = asyncio.create_task(answer_awaited(receiver, headers, BODY, work))
    await begun.wait()
    beside = await answer_awaited(receiver, headers, BODY, work)
    ending.set()

    assert (beside.status, beside.headers["Retry-After"]) == (425, "5")
    assert (await first).status == 204


async def test_a_request_that_is_cut_off_leaves_its_run_to_the_next() -> None:
    store = MemoryStore()
    receiver = Receiver(SECRET, store=store)
    begun = asyncio.Event()

    async def work(_: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    cut = asyncio.create_task(answer_awaited(receiver, now(), BODY, work))
    await begun.wait()
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut

    assert store.begin(ID, lease_seconds=1) is Standing.NEW


async def test_a_thread_whose_request_is_cut_off_keeps_its_run_and_ends_it() -> None:
    store = MemoryStore()
    begun, ending = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(_: Delivery) -> None:
        loop.call_soon_threadsafe(begun.set)
        ending.wait(10)

    cut = asyncio.create_task(answer_awaited(Receiver(SECRET, store=store), now(), BODY, work))
    await begun.wait()
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut

    assert store.begin(ID, lease_seconds=1) is Standing.UNDER_WAY
    ending.set()
    await asyncio.wait(RUNNING, timeout=10)
    assert store.begin(ID, lease_seconds=1) is Standing.DONE


async def test_a_thread_that_nothing_remembers_is_heard_to_its_end() -> None:
    begun, ending = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(_: Delivery) -> None:
        loop.call_soon_threadsafe(begun.set)
        ending.wait(10)
        raise ValueError("too late for an answer")

    cut = asyncio.create_task(answer_awaited(Receiver(SECRET), now(), BODY, work))
    await begun.wait()
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut

    [running] = RUNNING
    ending.set()
    with pytest.raises(ValueError, match="too late"):
        await asyncio.wait_for(running, 10)


def test_work_may_refuse_and_may_answer() -> None:
    def refuse(delivery: Delivery) -> None:
        raise Rejected(422, f"{delivery.json()} is not for us")

    assert answer(Receiver(SECRET), now(), BODY, refuse).status == 422
    found = answer(Receiver(SECRET), now(), BODY, lambda _: {"rows": 3})
    assert (found.body, found.headers["Content-Type"]) == (b'{"rows":3}', "application/json")


async def test_an_answer_that_says_failed_leaves_the_run_to_the_next_attempt() -> None:
    def work(_: Delivery) -> Answer:
        return Answer(status=503)

    assert await ways(Receiver(SECRET, store=MemoryStore()), work) == [503, 503]


def test_what_is_logged_of_a_delivery_is_no_secret() -> None:
    headers = signed(SECRET) | {"Authorization": "hunter2"}
    delivery = Receiver(SECRET).verify(headers, BODY, now=NOW.timestamp())

    shown = repr(delivery) + repr(delivery.__rich_repr__())
    assert ID in shown
    assert "hunter2" not in shown


def test_what_is_no_json_is_the_fault_of_the_sender() -> None:
    headers = signed(SECRET, body=b"{", at=datetime.now(UTC))

    assert answer(Receiver(SECRET), headers, b"{", Delivery.json).status == 400


def test_a_store_in_memory_is_bounded_and_its_leases_and_memories_end() -> None:
    at = 0.0
    store = MemoryStore(2, clock=lambda: at)
    assert store.begin("a", lease_seconds=10) is Standing.NEW
    assert store.begin("a", lease_seconds=10) is Standing.UNDER_WAY
    at = 10.0
    assert store.begin("a", lease_seconds=10) is Standing.NEW
    store.end("a", keep_seconds=100)
    assert store.begin("a", lease_seconds=10) is Standing.DONE
    at = 110.0
    assert store.begin("a", lease_seconds=10) is Standing.NEW
    store.end("a", keep_seconds=100)
    store.release("a")
    assert store.begin("a", lease_seconds=10) is Standing.DONE, "another attempt did it"
    for other in "bc":
        store.begin(other, lease_seconds=10)
    assert store.begin("a", lease_seconds=10) is Standing.NEW
    assert len(store.kept) == 2


def test_a_store_that_has_to_be_awaited_is_not_taken_where_nothing_awaits() -> None:
    class Awaited:
        async def begin(self, *_: object, **__: object) -> Standing:
            raise AssertionError

        async def end(self, *_: object, **__: object) -> None:
            raise AssertionError

        async def release(self, *_: object) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match="MemoryStore"):
        answer(Receiver(SECRET, store=Awaited()), now(), BODY, lambda _: None)
