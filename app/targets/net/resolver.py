"""Looks names up without threads, within a time limit, so that no name holds up another.

c-ares asks `/etc/hosts` and the name servers of `/etc/resolv.conf`, as asynchronous as a connection
(docs/adr/0040). What is ours are the bounds: one question at a time for each name, a few for each
zone, a time limit for those who wait, and failures that are remembered.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic

import aiodns
import pycares
from msgspec import Struct

from app.descriptors import shortage
from app.targets.net.forms import checked, is_address, zone_of

LOOKUP_SECONDS = 6.0
"""How long anybody waits for a name."""
TRIES = 5
"""Times a name server is asked: the first waits 0.25 s or more, each other twice the one before."""
UNTRIED_SECONDS = 0.5
"""What the first waits while nothing is known of how long the name server takes."""

MIN_FRESH_SECONDS = 2.0
MAX_FRESH_SECONDS = 60.0
"""An answer is used again for as long as its time to live says, within these bounds."""
SILENCE_SECONDS = 5.0
"""How long a name whose server did not answer is not asked for again."""
FAILED_SECONDS = 1.0
"""How long another failure is remembered."""

MAX_ADDRESSES = 32
"""Of one name; the others are as if they were not there."""
MAX_KNOWN = 10_000
"""Names that are remembered."""
MAX_QUESTIONS = 1000
MAX_OF_A_ZONE = 16
"""Questions under way for names that have never had an answer."""
RENEWED_AFTER = 500
"""Questions, after which the client is made anew: what it caches by itself has no bound."""

MAX_NAME_LENGTH = 255
NOT_FOUND = {pycares.errno.ARES_ENODATA, pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_EBADNAME}
NO_ANSWER = {pycares.errno.ARES_ETIMEOUT, pycares.errno.ARES_ECANCELLED}


class NameFailed(socket.gaierror):
    """A name has no address, or nobody told which in time; the text says why."""

    @property
    def is_silence(self) -> bool:
        """Whether there was no answer, rather than one without an address."""
        return self.errno == socket.EAI_AGAIN

    @property
    def is_unknown(self) -> bool:
        """Whether the answer was that there is no such name."""
        return self.errno == socket.EAI_NONAME

    def again(self) -> "NameFailed":
        """The same failure for somebody else, without the traceback of the first."""
        return NameFailed(self.errno, self.strerror)


class Known(Struct):
    """What is known of a name; instants are those of the resolver's clock."""

    addresses: tuple[str, ...] = ()
    """Of the latest answer, which may be too old to be used."""
    fresh_until: float = 0.0
    failure: NameFailed | None = None
    failed_until: float = 0.0

    def told(self) -> list[str]:
        """The addresses.

        Raises:
            NameFailed: the latest answer was none.
        """
        if self.failure is not None:
            raise self.failure.again()
        return list(self.addresses)


class Resolver:
    """The addresses of names, for any number who ask at a time.

    `servers` are asked instead of the system's: `10.0.0.2`, `[2001:db8::2]:5353`.

    Raises:
        InvalidSettings: one of them is no address.
    """

    def __init__(
        self, servers: Sequence[str] = (), *, clock: Callable[[], float] = monotonic
    ) -> None:
        self.servers = tuple(map(checked, servers))
        self.clock = clock
        self.known: dict[str, Known] = {}
        """The one asked for last is last."""
        self.questions: dict[str, asyncio.Future[pycares.AddrInfoResult]] = {}
        self.of_zone: Counter[str] = Counter()
        """Questions under way for names that have never had an answer."""
        self.clients: list[aiodns.DNSResolver] = []
        """The last one is asked; the others have questions that are under way."""
        self.asked = 0

    async def close(self) -> None:
        """Give up every question; takes no time."""
        for client in self.clients:
            await client.close()
        self.clients.clear()

    async def lookup(self, host: str, port: int) -> list[str]:
        """Look up the addresses of `host`; they are the same for every port."""
        del port
        return await self.addresses(host)

    async def addresses(self, host: str) -> list[str]:
        """Look up the addresses of a name; an address is its own.

        Raises:
            NameFailed: there is none, or no answer in time.
        """
        if is_address(host):
            return [host]
        name = host.lower()
        if not name.isascii() or not name.isprintable() or not 0 < len(name) <= MAX_NAME_LENGTH:
            raise NameFailed(socket.EAI_NONAME, "it is no name")
        if known := self.settled(name):
            return known.told()
        if self.crowded(name):
            message = f"too many names of {zone_of(name)} are being waited for"
            raise NameFailed(socket.EAI_AGAIN, message)
        question = self.questions.get(name) or self.ask(name)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await asyncio.shield(question)  # others may wait for it as well
        except TimeoutError:
            self.note_failure(name, silence())
        except aiodns.error.DNSError:
            pass  # was noted when it came
        known = self.known.get(name)
        if known is None:
            raise silence()
        return known.told()

    def settled(self, host: str) -> Known | None:
        """What is known of a name and needs no question, be it addresses or a failure."""
        known = self.known.get(host.lower())
        if known is None or max(known.fresh_until, known.failed_until) <= self.clock():
            return None
        return known

    def latest(self, host: str) -> tuple[str, ...]:
        """The addresses that a name had last, however long ago; none if it never had any."""
        known = self.known.get(host.lower())
        return known.addresses if known else ()

    def crowded(self, host: str) -> bool:
        """Whether so much of the name's kind is asked already that it had better come later.

        The names that have had an answer before are not held up by those that never had one.
        """
        name = host.lower()
        if name in self.questions or self.latest(name):
            return False
        full = len(self.questions) >= MAX_QUESTIONS
        return full or self.of_zone[zone_of(name)] >= MAX_OF_A_ZONE

    def ask(self, name: str) -> asyncio.Future[pycares.AddrInfoResult]:
        """Begin to ask for a name.

        Raises:
            NameFailed: nothing can be asked at all, as for want of a file descriptor.
        """
        try:
            question = self.client().getaddrinfo(name, type=socket.SOCK_STREAM)
        except (pycares.AresError, OSError) as error:
            raise failure_of(error) from error
        zone = "" if self.latest(name) else zone_of(name)
        self.questions[name] = question
        self.of_zone[zone] += 1

        def answered(question: asyncio.Future[pycares.AddrInfoResult]) -> None:
            del self.questions[name]
            self.of_zone[zone] -= 1
            if not self.of_zone[zone]:
                del self.of_zone[zone]
            if question.cancelled():
                return
            if (error := question.exception()) is not None:
                self.note_failure(name, failure_of(error))
            else:
                self.note_answer(name, question.result())

        if question.done():  # a name that is none
            answered(question)
        else:
            question.add_done_callback(answered)
        return question

    def client(self) -> aiodns.DNSResolver:
        """The client that asks."""
        if not self.clients or self.asked >= RENEWED_AFTER:
            self.asked = 0
            self.clients.append(
                aiodns.DNSResolver(
                    self.servers, asyncio.get_running_loop(), timeout=UNTRIED_SECONDS, tries=TRIES
                )
            )
            if len(self.clients) > 1:
                asyncio.get_running_loop().call_later(2 * LOOKUP_SECONDS, self.retire)
        self.asked += 1
        return self.clients[-1]

    def retire(self) -> None:
        """Close the client that asks no more, by when nobody waits for it."""
        if len(self.clients) > 1:
            self.clients.pop(0).cancel()  # it closes as the last reference goes

    def note_answer(self, name: str, answer: pycares.AddrInfoResult) -> None:
        nodes = answer.nodes[:MAX_ADDRESSES]
        found = dict.fromkeys(text_of(node.addr[0]) for node in nodes)
        if not found:
            self.note_failure(name, failure_of(None))
            return
        ttl = min(node.ttl for node in nodes)
        seconds = min(max(ttl, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
        self.note(name, Known(addresses=tuple(found), fresh_until=self.clock() + seconds))

    def note_failure(self, name: str, failure: NameFailed) -> None:
        seconds = SILENCE_SECONDS if failure.is_silence else FAILED_SECONDS
        self.note(
            name,
            Known(
                addresses=self.latest(name),
                failure=failure,
                failed_until=self.clock() + seconds,
            ),
        )

    def note(self, name: str, known: Known) -> None:
        self.known.pop(name, None)
        self.known[name] = known
        if len(self.known) > MAX_KNOWN:
            del self.known[next(iter(self.known))]


def text_of(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address


def silence() -> NameFailed:
    return NameFailed(socket.EAI_AGAIN, "no name server answered in time")


def failure_of(error: BaseException | None) -> NameFailed:
    """Say what came instead of an address."""
    code = error.args[0] if error is not None and error.args else pycares.errno.ARES_ENODATA
    if code in NOT_FOUND:
        return NameFailed(socket.EAI_NONAME, "it does not exist, or has no address")
    if code in NO_ANSWER:
        return silence()
    if (refusal := shortage()) is not None:
        return NameFailed(refusal.errno, refusal.strerror)
    return NameFailed(socket.EAI_FAIL, pycares.errno.strerror(code))
