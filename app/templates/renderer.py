"""Renders templates in processes beside this one, which are started when first needed."""

import asyncio
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import count

import msgspec

from app.core.schedule.zones import InUse
from app.descriptors import OutOfDescriptors, is_shortage
from app.errors import AppError, FieldError, InvalidInput
from app.templates.messages import MAX_OUTPUT, Answer, Cause, Request, Text, Variables

QUICK_SECONDS = 0.025
"""The time of a CPU that templates may take before they count as slow."""
CPU_SECONDS = 0.5
"""The time of a CPU that the templates of a target may take."""
ANSWER_SECONDS = 10.0
"""How long to wait for an answer, which is late if others want the CPUs."""
MAX_REMEMBERED = 100_000
"""How many targets are remembered as quick or slow, the latest."""
MAX_NEW = 400
"""The most targets that wait to be rendered here for the first time; more are deferred."""
MAX_SLOW = 40
"""The most targets that wait with the slow ones; more are deferred."""

HEAD = struct.Struct(">I")
"""Before each message: its length."""
MAX_ANSWER = 8 * MAX_OUTPUT
"""The most bytes of an answer."""
DECODER = msgspec.json.Decoder(Answer)
ENCODER = msgspec.json.Encoder()

LIMITS: dict[Cause, str] = {
    "cpu": f"takes more than {CPU_SECONDS:g} s of a CPU: make it shorter",
    "memory": "takes too much memory: make it shorter",
    "output": f"becomes longer than {MAX_OUTPUT:,} characters: make it shorter",
}


class TemplateFailed(AppError):
    """Templates could not be rendered for this run; `retryable`: another attempt may."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class RendererCrowded(AppError):
    """Too many templates wait to be rendered already; nothing was sent."""

    def __init__(self, times: int) -> None:
        super().__init__("too many templates are being rendered")
        self.times = times
        """How many callers in a row were refused."""


class Renderer:
    """Renders the templates of one instance, in three processes that do not wait for each other.

    One process renders templates that were quick before, one those that are new here, and one those
    that were slow: so new templates, however many and however slow, delay none that were rendered
    before.
    """

    def __init__(self) -> None:
        self.quick = Worker(QUICK_SECONDS)
        self.new = Worker(QUICK_SECONDS, most=MAX_NEW)
        self.slow = Worker(CPU_SECONDS, most=MAX_SLOW)
        self.known: OrderedDict[bytes, Worker] = OrderedDict()
        """Where the templates of a target are rendered, by their digest; the latest last."""

    def __repr__(self) -> str:
        return f"<Renderer: quick {self.quick}, new {self.new}, slow {self.slow}>"

    async def render(self, texts: Sequence[Text], variables: Variables) -> list[str]:
        """Render the templates of a target; return them in their order.

        Raises:
            InvalidInput: a template is wrong, whatever the run.
            TemplateFailed: one cannot be rendered for this run, or a limit was exceeded.
            RendererCrowded: too many wait already.
            OutOfDescriptors: no process could be started.
        """
        key = digest(texts)
        worker = self.known.get(key)
        if worker is None:
            await self.quick.begin()  # it is wanted soon
            worker = self.new
        answer = await worker.render(texts, variables)
        if worker is self.slow or answer.cause in ("cpu", "ended"):
            self.remember(key, self.slow)
            if answer.cause == "cpu" and worker is not self.slow:
                answer = await self.slow.render(texts, variables)
        else:
            self.remember(key, self.quick)
        if answer.cause is None:
            return answer.texts
        raise failure(answer, texts)

    def remember(self, key: bytes, worker: "Worker") -> None:
        """Remember where these templates are to be rendered from now on."""
        self.known[key] = worker
        self.known.move_to_end(key)
        if len(self.known) > MAX_REMEMBERED:
            self.known.popitem(last=False)

    async def close(self) -> None:
        """End the processes."""
        for worker in (self.quick, self.new, self.slow):
            await worker.end()


def digest(texts: Sequence[Text]) -> bytes:
    """Return what stands for these templates: they may be long, and many are remembered."""
    found = blake2b(digest_size=16)
    for text in texts:
        found.update(f"{len(text.source)}:{text.top}:".encode())
        found.update(text.source.encode(errors="surrogatepass"))
    return found.digest()


def failure(answer: Answer, texts: Sequence[Text]) -> AppError:
    """Return what an answer without texts means."""
    where = texts[0].field if len(texts) == 1 else answer.where
    match answer.cause:
        case "mistake":
            return InvalidInput(FieldError(field=answer.where, message=answer.message))
        case "cpu" | "memory" | "output":
            return TemplateFailed(f"{where}: {LIMITS[answer.cause]}")
        case "ended":
            return TemplateFailed(f"{where}: {answer.message}", retryable=True)
        case _:
            return TemplateFailed(f"{where}: {answer.message}")


class Worker:
    """One process that renders, for one target after the other."""

    def __init__(self, cpu_seconds: float, *, most: int | None = None) -> None:
        self.cpu_seconds = cpu_seconds
        self.most = most
        """How many requests may wait, the one under way included; None: any number."""
        self.waiting = 0
        self.refused = 0
        """How many requests in a row were one too many."""
        self.lock = asyncio.Lock()
        self.process: Process | None = None
        self.ids = count(1)

    def __repr__(self) -> str:
        state = "not started" if self.process is None else f"process {self.process.pid}"
        return f"<Worker: {state}>"

    async def render(self, texts: Sequence[Text], variables: Variables) -> Answer:
        """Have the process render, once the requests before are answered.

        Raises:
            RendererCrowded: too many requests wait already.
            OutOfDescriptors: the process could not be started.
            TemplateFailed: there is no answer in time.
        """
        if self.most is not None and self.waiting >= self.most:
            self.refused += 1
            raise RendererCrowded(self.refused)
        self.refused = 0
        self.waiting += 1
        try:
            return await self.answer(texts, variables)
        finally:
            self.waiting -= 1

    async def begin(self) -> None:
        """Start the process, unless there is one; a request meets and reports what goes wrong."""
        if self.process is None and not self.lock.locked():
            async with self.lock:
                with suppress(OSError):
                    await self.start()

    async def answer(self, texts: Sequence[Text], variables: Variables) -> Answer:
        """Have the process answer within `ANSWER_SECONDS`, once the requests before are answered.

        Raises:
            OutOfDescriptors, TemplateFailed: as `render` does.
        """
        async with self.lock:
            answer = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await self.ask(texts, variables)
            except TimeoutError:
                message = f"the templates were not rendered within {ANSWER_SECONDS:g} s"
                raise TemplateFailed(message, retryable=True) from None
            except OSError as error:
                if is_shortage(error):
                    raise OutOfDescriptors("no file descriptor is left for a process") from error
                message = f"no process could render the templates: {type(error).__name__}"
                raise TemplateFailed(message, retryable=True) from None
            finally:
                if answer is None:  # what it would still answer is of no use
                    await self.end()
        return answer

    async def ask(self, texts: Sequence[Text], variables: Variables) -> Answer:
        """Have the process answer; one that has ended since it was last asked is replaced.

        Raises:
            OSError: a process cannot be started, or ends without an answer.
        """
        if self.process is not None:
            try:
                return await self.exchange(self.process, texts, variables)
            except BrokenPipeError:
                await self.end()
        return await self.exchange(await self.start(), texts, variables)

    async def exchange(
        self, process: Process, texts: Sequence[Text], variables: Variables
    ) -> Answer:
        """Send a request, and read its answer.

        Raises:
            BrokenPipeError: the process ended.
        """
        if process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        request = Request(
            id=next(self.ids), cpu_seconds=self.cpu_seconds, texts=list(texts), variables=variables
        )
        message = ENCODER.encode(request)
        try:
            process.stdin.write(HEAD.pack(len(message)) + message)
            await process.stdin.drain()
            while True:
                [length] = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
                if length > MAX_ANSWER:
                    raise BrokenPipeError
                answer = DECODER.decode(await process.stdout.readexactly(length))
                if answer.id == request.id:
                    return answer
        except (ConnectionError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            raise BrokenPipeError from error

    async def start(self) -> Process:
        """Start the process, which knows no variable of this one's environment."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.templates.child", InUse.setting),
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"},
            start_new_session=True,
        )
        return self.process

    async def end(self) -> None:
        """End the process, and what it has started; a later request starts another."""
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
