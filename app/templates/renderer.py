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
from itertools import count

import msgspec

from app.core.schedule.zones import InUse
from app.descriptors import OutOfDescriptors, is_shortage
from app.errors import AppError, FieldError, InvalidInput
from app.templates.messages import MAX_OUTPUT, Answer, Cause, Request, Text, Variables

QUICK_SECONDS = 0.025
"""The time of a CPU that templates may take before they wait with the slow ones."""
CPU_SECONDS = 0.5
"""The time of a CPU that the templates of a target may take."""
ANSWER_SECONDS = 10.0
"""How long to wait for an answer, which is late if others want the CPUs."""
MAX_REMEMBERED = 10_000
"""How many targets are remembered as slow, the latest."""

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


class Renderer:
    """Renders the templates of one instance, those of slow targets apart from all others.

    So templates that use up their time make those of others late by `QUICK_SECONDS`, and that once.
    """

    def __init__(self) -> None:
        self.quick = Worker(QUICK_SECONDS)
        self.slow = Worker(CPU_SECONDS)
        self.known_slow: OrderedDict[tuple[str, ...], None] = OrderedDict()
        """The templates that were not rendered within `QUICK_SECONDS`."""

    def __repr__(self) -> str:
        return f"<Renderer: {self.quick}, {self.slow}, {len(self.known_slow)} known to be slow>"

    async def render(self, texts: Sequence[Text], variables: Variables) -> list[str]:
        """Render the templates of a target; return them in their order.

        Raises:
            InvalidInput: a template is wrong, whatever the run.
            TemplateFailed: one cannot be rendered for this run, or a limit was exceeded.
            OutOfDescriptors: no process could be started.
        """
        sources = tuple(text.source for text in texts)
        answer = None
        if sources not in self.known_slow:
            answer = await self.quick.render(texts, variables)
            if answer.cause == "cpu":
                self.remember(sources)
                answer = None
        if answer is None:
            answer = await self.slow.render(texts, variables)
        if answer.cause is None:
            return answer.texts
        raise failure(answer, texts)

    def remember(self, sources: tuple[str, ...]) -> None:
        """Remember that these templates are slow."""
        self.known_slow[sources] = None
        if len(self.known_slow) > MAX_REMEMBERED:
            self.known_slow.popitem(last=False)

    async def close(self) -> None:
        """End the processes."""
        await self.quick.end()
        await self.slow.end()


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

    def __init__(self, cpu_seconds: float) -> None:
        self.cpu_seconds = cpu_seconds
        self.lock = asyncio.Lock()
        self.process: Process | None = None
        self.ids = count(1)

    def __repr__(self) -> str:
        state = "not started" if self.process is None else f"process {self.process.pid}"
        return f"<Worker: {state}>"

    async def render(self, texts: Sequence[Text], variables: Variables) -> Answer:
        """Have the process render, once the requests before are answered.

        Raises:
            OutOfDescriptors: the process could not be started.
            TemplateFailed: there is no answer in time.
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
