"""How many streams of one API key are open at a time."""

from collections.abc import AsyncGenerator

import pytest

from app.api.streams import Streams
from app.errors import TooManyStreams


async def two() -> AsyncGenerator[bytes, None]:
    yield b"1"
    yield b"2"


async def test_a_key_has_so_many_streams_and_takes_no_place_of_another_one() -> None:
    streams = Streams(most=2)
    first, _second = (streams.counted(two(), owner="a") for _ in range(2))

    with pytest.raises(TooManyStreams, match="2 streams are open"):
        streams.counted(two(), owner="a")
    others = streams.counted(two(), owner="b")

    assert [one async for one in first] == [b"1", b"2"]
    assert streams.open == {"a": 1, "b": 1}
    await anext(others)
    await others.aclose()
    assert streams.open == {"a": 1}


async def test_a_stream_that_never_began_gives_its_place_back() -> None:
    streams = Streams(most=1)
    never = two()
    counted = streams.counted(never, owner="a")
    assert streams.open == {"a": 1}

    del counted

    assert not streams.open
    streams.counted(two(), owner="a")
