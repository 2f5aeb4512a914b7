"""The deepest JSON that may be sent."""

import pytest

from app.core.jobs.json_depth import is_deeper


@pytest.mark.parametrize(("levels", "deeper"), [(64, False), (65, True), (900, True)])
def test_the_last_level_that_is_allowed_is(levels: int, *, deeper: bool) -> None:
    for begin, end in ((b"[", b"]"), (b'{"[":', b"}")):
        text = b"[" + (begin * (levels - 1) + b"1" + end * (levels - 1)) + b"]"

        assert is_deeper(text, than=64) is deeper
