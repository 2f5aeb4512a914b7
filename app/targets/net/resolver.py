"""Resolves host names without threads and within a time limit, so that no name delays another.

c-ares asks `/etc/hosts` and the name servers of `/etc/resolv.conf`, without blocking
(docs/adr/0040). Added here are bounds: one question at a time for each name, a few for each zone, a
time limit for callers; and answers and failures are kept for seconds.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence

import aiodns
import pycares
from msgspec import Struct

from app.descriptors import find_shortage
from app.targets.net.forms import checked, is_address, zone_of
from app.timers import Monotonic

LOOKUP_SECONDS = 6.0
"""How long a caller waits for the addresses of a name."""
TRIES = 5
"""How often a name server is asked: the first try waits at least 0.25 s, each other twice as long
as the one before."""
UNTRIED_SECONDS = 0.5
"""The wait of the first try while the usual time of the name server is unknown."""

MIN_FRESH_SECONDS = 2.0
"""How long an answer is used at least, even if its time to live is shorter."""
MAX_FRESH_SECONDS = 60.0
"""How long an answer is used at most, even if its time to live is longer."""
SILENCE_SECONDS = 5.0
"""How long a name is not asked for again after its name server did not answer."""
FAILED_SECONDS = 1.0
"""How long a name is not asked for again after any other failure."""

MAX_ADDRESSES = 32
"""How many addresses of one name are used."""
MAX_KNOWN = 10_000
"""How many names are remembered; the one not asked for the longest is forgotten first."""
MAX_QUESTIONS = 1000
"""Questions under way at which names that never had an answer are refused."""
MAX_OF_A_ZONE = 16
"""Questions under way for names of one zone that never had an answer, at which more are refused."""
RENEWED_AFTER = 500
"""Questions after which the client is replaced: its own cache has no bound."""

MAX_NAME_LENGTH = 255
"""The most characters of a name."""
NOT_FOUND = {pycares.errno.ARES_ENODATA, pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_EBADNAME}
NO_ANSWER = {pycares.errno.ARES_ETIMEOUT, pycares.errno.ARES_ECANCELLED}


class NameFailed(socket.gaierror):
    """A name has no address, or no name server answered in time; the message says which."""

    @property
    def is_silence(self) -> bool:
        """Whether no name server answered."""
        return self.errno == socket.EAI_AGAIN

    @property
    def is_unknown(self) -> bool:
        """Whether a name server answered that the name does not exist or has no address."""
        return self.errno == socket.EAI_NONAME

    def again(self) -> "NameFailed":
        """Return the same failure for another caller, without the first caller's traceback."""
        return NameFailed(self.errno, self.strerror)


class Known(Struct):
    """The latest answer for a name; instants are those of the resolver's clock."""

    addresses: tuple[str, ...] = ()
    """The addresses of the latest answer that had some, which may be too old to be used."""
    fresh_until: float = 0.0
    failure: NameFailed | None = None
    failed_until: float = 0.0

    def told(self) -> list[str]:
        """Return the addresses.

        Raises:
            NameFailed: the latest question failed.
        """
        if self.failure is not None:
            raise self.failure.again()
        return list(self.addresses)


class Resolver:
    """Resolves names, for any number of callers at a time.

    `servers`, such as `10.0.0.2` or `[2001:db8::2]:5353`, are asked instead of the system's.

    Raises:
        InvalidSettings: a server is no address of a name server.
    """

    def __init__(self, servers: Sequence[str] = (), *, clock: Monotonic) -> None:
        self.servers = tuple(map(checked, servers))
        self.clock = clock
        self.known: dict[str, Known] = {}
        """What is known of each name, in the order of the answers."""
        self.questions: dict[str, asyncio.Future[pycares.AddrInfoResult]] = {}
        self.of_zone: Counter[str] = Counter()
        """Questions under way for names that never had an answer, by zone."""
        self.clients: list[aiodns.DNSResolver] = []
        """The last client is asked; the others still have questions under way."""
        self.asked = 0
        """How many questions the last client was asked."""

    def __repr__(self) -> str:
        return f"Resolver({len(self.known)} names known, {len(self.questions)} being asked for)"

    async def close(self) -> None:
        """Cancel every question, without waiting."""
        for client in self.clients:
            await client.close()
        self.clients.clear()

    async def lookup(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`, which are the same for every port: see `addresses`."""
        del port
        return await self.find_addresses(host)

    async def find_addresses(self, host: str) -> list[str]:
        """Return the addresses of a name; for an address, the address itself.

        Raises:
            NameFailed: the name has no address, or no name server answered in time.
        """
        if is_address(host):
            return [host]
        name = host.lower()
        if not name.isascii() or not name.isprintable() or not 0 < len(name) <= MAX_NAME_LENGTH:
            raise NameFailed(socket.EAI_NONAME, "it is no name")
        if known := self.fresh(name):
            return known.told()
        if self.crowded(name):
            message = f"too many names of {zone_of(name)} are being waited for"
            raise NameFailed(socket.EAI_AGAIN, message)
        question = self.questions.get(name) or self.ask(name)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await asyncio.shield(question)  # other callers may wait for the same answer
        except TimeoutError:
            self.note_failure(name, silence())
        except aiodns.error.DNSError:
            pass  # the callback of the question has noted the failure
        known = self.known.get(name)
        if known is None:
            raise silence()
        return known.told()

    def fresh(self, host: str) -> Known | None:
        """Return the fresh answer or failure of a name; None if the name has to be asked for."""
        known = self.known.get(host.lower())
        if known is None:
            return None
        now = self.clock()
        return known if known.fresh_until > now or known.failed_until > now else None

    def latest(self, host: str) -> tuple[str, ...]:
        """Return the addresses that a name had last, however long ago."""
        known = self.known.get(host.lower())
        return known.addresses if known else ()

    def crowded(self, host: str) -> bool:
        """Return whether too many questions are under way to ask for a name that had no answer yet.

        Names that have had an answer before are always asked for.
        """
        name = host.lower()
        if name in self.questions or self.latest(name):
            return False
        full = len(self.questions) >= MAX_QUESTIONS
        return full or self.of_zone[zone_of(name)] >= MAX_OF_A_ZONE

    def ask(self, name: str) -> asyncio.Future[pycares.AddrInfoResult]:
        """Start the question for a name.

        Raises:
            NameFailed: no question can be asked, as no file descriptor is left for example.
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

        if question.done():  # an invalid name
            answered(question)
        else:
            question.add_done_callback(answered)
        return question

    def client(self) -> aiodns.DNSResolver:
        """Return the client to ask, a new one after `RENEWED_AFTER` questions."""
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
        """Close the oldest client, whose questions have all ended by now."""
        if len(self.clients) > 1:
            self.clients.pop(0).cancel()  # the client closes with its last reference

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
    """Translate an error of c-ares; None stands for an answer without addresses."""
    code = error.args[0] if error is not None and error.args else pycares.errno.ARES_ENODATA
    if code in NOT_FOUND:
        return NameFailed(socket.EAI_NONAME, "it does not exist, or has no address")
    if code in NO_ANSWER:
        return silence()
    if (refusal := find_shortage()) is not None:
        return NameFailed(refusal.errno, refusal.strerror)
    return NameFailed(socket.EAI_FAIL, pycares.errno.strerror(code))
