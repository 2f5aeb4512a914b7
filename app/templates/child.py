"""The process that renders templates: `python -m app.templates.child`.

Reads requests from the standard input and writes answers to the standard output. A process of its
own renders, which its parent here replaces whenever that ends. The kernel ends it, whatever a
template does, once one rendering has had its time of a CPU; so long as it lives it has only so much
memory.
"""

import mmap
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import Template, TemplateError
from msgspec import to_builtins

from app.core.schedule.zones import use_rules
from app.errors import InvalidInput
from app.templates.check import mistakes
from app.templates.environment import Instant, environment
from app.templates.messages import MAX_OUTPUT, Answer, Request, Text, Variables

MEMORY = 64 * 1024 * 1024
"""How many bytes a rendering may have beyond those that the process begins with."""
MAX_CACHED_LENGTH = 4096
"""The most characters of a template that is kept compiled."""
MAX_MESSAGE = 300
"""The most characters of an error."""
NICENESS = 10
"""How much less a rendering is than an instance, where both want a CPU."""
RENEWED = 3
"""The exit status of a process that asks to be replaced, as its memory ran out."""

HEAD = struct.Struct(">I")
"""Before each message: its length."""
CURRENT = struct.Struct(">q")
"""The request that is under way; 0 for none."""
DECODER = msgspec.json.Decoder(Request)
ENCODER = msgspec.json.Encoder()


class Refused(Exception):
    """A template cannot be rendered, with the answer that says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


def main(rules: str) -> None:
    """Serve requests until the input ends."""
    with suppress(Exception):  # the instance has told; the newest rules of this machine serve too
        use_rules(rules)
    for top in ("url", "body", "html"):
        environment(top)
    os.nice(NICENESS)
    current = mmap.mmap(-1, CURRENT.size)
    while True:
        child = os.fork()
        if not child:
            os._exit(serve(current))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return
        if id := CURRENT.unpack(current[:])[0]:
            current[:] = CURRENT.pack(0)
            write(ended(id, code))


def ended(id: int, code: int) -> Answer:
    """Return the answer to a request whose process ended with this status."""
    if code == -signal.SIGPROF:
        return Answer(id=id, cause="cpu")
    return Answer(id=id, cause="ended", message=f"the process that rendered it ended ({code})")


def serve(current: mmap.mmap) -> int:
    """Render until the input ends or the memory runs out; return the exit status."""
    set_limits()
    while (message := read()) is not None:
        request = DECODER.decode(message)
        current[:] = CURRENT.pack(request.id)
        signal.setitimer(signal.ITIMER_PROF, request.cpu_seconds)
        try:
            answer = Answer(id=request.id, texts=rendered(request))
        except Refused as refusal:
            answer = refusal.answer
        except MemoryError:
            answer = Answer(id=request.id, cause="memory")
        signal.setitimer(signal.ITIMER_PROF, 0)
        current[:] = CURRENT.pack(0)
        write(answer)
        if answer.cause == "memory":
            return RENEWED
    return 0


def set_limits() -> None:
    """Limit the memory of this process, and have it write no file."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(OSError, ValueError):  # macOS has no such file, nor such a limit
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - as it is read once
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def rendered(request: Request) -> list[str]:
    """Render the templates of a request.

    Raises:
        Refused: one of them cannot be rendered.
    """
    variables = named(request.variables)
    texts: list[str] = []
    left = MAX_OUTPUT
    for text in request.texts:
        try:
            texts.append(filled(template(text.source, text.top), variables, left))
        except MemoryError:
            memory = Answer(id=request.id, cause="memory", where=text.field)
            raise Refused(memory) from None
        except Exception as error:  # noqa: BLE001 - whatever a template causes
            raise Refused(refused(request, text, error)) from None
        left -= len(texts[-1])
    return texts


def filled(ready: Template, variables: dict[str, Any], most: int) -> str:
    """Render one template to at most so many characters.

    Raises:
        Exception: whatever the template causes.
    """
    pieces: list[str] = []
    for piece in ready.generate(**variables):
        most -= len(piece)
        if most < 0:
            raise TooLong
        pieces.append(piece)
    return "".join(pieces)


class TooLong(Exception):
    """The templates of a target become longer than `MAX_OUTPUT`."""


def refused(request: Request, text: Text, error: Exception) -> Answer:
    """Return the answer to a request, one of whose templates raised an error."""
    if isinstance(error, TooLong):
        return Answer(id=request.id, cause="output", where=text.field)
    mistake = next(mistakes(text.source, text.top), None)
    if mistake is not None:
        return Answer(id=request.id, cause="mistake", where=text.field, message=mistake)
    said = "recurses too deep" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, InvalidInput):
        said = error.errors[0].message
    elif not isinstance(error, TemplateError | RecursionError):
        said = f"{type(error).__name__}: {said}"
    return Answer(id=request.id, cause="failed", where=text.field, message=said[:MAX_MESSAGE])


def template(source: str, top: str) -> Template:
    """Compile a template; short ones are kept."""
    return (kept if len(source) <= MAX_CACHED_LENGTH else compiled)(source, top)


def compiled(source: str, top: str) -> Template:
    return environment(top).from_string(source)


kept = lru_cache(maxsize=256)(compiled)


def named(variables: Variables) -> dict[str, Any]:
    """Return the variables as templates have them: objects, whose instants can be formatted."""
    run = variables.run
    instants = {
        "scheduled_for": instant(run.scheduled_for),
        "previous": run.previous and instant(run.previous),
        "next": run.next and instant(run.next),
    }
    finished = variables.job.last_finished_at
    job = to_builtins(variables.job) | {"last_finished_at": finished and instant(finished)}
    return {"run": to_builtins(run) | instants, "attempt": variables.attempt, "job": job}


def instant(of: datetime) -> Instant:
    """Return a datetime as templates have it."""
    return Instant.combine(of.date(), of.timetz())


def read() -> bytes | None:
    """Read a message; None at the end of the input."""
    head = read_exactly(HEAD.size)
    return None if head is None else read_exactly(HEAD.unpack(head)[0])


def read_exactly(length: int) -> bytes | None:
    found = bytearray()
    while len(found) < length:
        piece = os.read(sys.stdin.fileno(), length - len(found))
        if not piece:
            return None
        found += piece
    return bytes(found)


def write(answer: Answer) -> None:
    """Write a message."""
    text = ENCODER.encode(answer)
    left = memoryview(HEAD.pack(len(text)) + text)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


if __name__ == "__main__":
    main(sys.argv[1])
