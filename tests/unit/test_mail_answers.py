"""How the answers of mail servers are read: each line once, and only what was asked for."""

import asyncio
from time import process_time

import pytest
from aiosmtplib import SMTPResponseException, SMTPServerDisconnected

from app.targets.smtp.answers import MAX_RECEIVED, READ_COST, Answers

QUICK_SECONDS = 0.5
"""Of CPU time, on a busy machine; parsed anew for each piece it is well over a second."""


class Wire(asyncio.Transport):
    """A connection that notes what is written to it, and whether it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: object) -> None:
        self.sent += bytes(data)  # type: ignore[call-overload] # bytes, as all that is written

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def answers(wire: Wire) -> Answers:
    made = Answers(loop=asyncio.get_running_loop())
    made.connection_made(wire)
    return made


async def greeted(answers: Answers) -> Answers:
    answers.data_received(b"220 hello\r\n")
    await answers.read_response()
    return answers


async def test_an_answer_in_very_many_pieces_is_read_once(answers: Answers) -> None:
    piece = b"220-x\r\n" * 4
    pieces = MAX_RECEIVED // (READ_COST + len(piece)) - 1
    began = process_time()
    for _ in range(pieces):
        answers.data_received(piece)
    answers.data_received(b"220 end\r\n")

    assert process_time() - began < QUICK_SECONDS
    code, said = await answers.read_response()
    assert (code, said.count("\n")) == (220, 4 * pieces)


async def test_a_session_is_read_up_to_its_bound(answers: Answers, wire: Wire) -> None:
    for _ in range(MAX_RECEIVED // READ_COST + 1):
        answers.data_received(b"2")

    assert wire.aborted
    with pytest.raises(SMTPResponseException, match="too long"):
        await answers.read_response()


async def test_what_came_before_a_command_is_no_answer_to_it(answers: Answers, wire: Wire) -> None:
    await greeted(answers)
    answers.data_received(b"250 injected\r\n250-and more")

    asking = asyncio.create_task(answers.execute_command(b"NOOP"))
    await asyncio.sleep(0)
    answers.data_received(b"250 fine\r\n250 and what nobody asked for\r\n")
    first = await asking
    asking = asyncio.create_task(answers.execute_command(b"NOOP"))
    await asyncio.sleep(0)
    answers.data_received(b"250 fine as well\r\n")

    assert (first.message, (await asking).message) == ("fine", "fine as well")
    assert wire.sent == b"NOOP\r\n" * 2


async def test_the_end_of_the_connection_ends_an_answer_that_has_begun(answers: Answers) -> None:
    answers.data_received(b"220-hello\r\n220-")
    answers.connection_lost(None)

    with pytest.raises(SMTPServerDisconnected):
        await answers.read_response()
