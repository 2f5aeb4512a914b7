"""An address of several hosts is tried one host after the other."""

import pytest

from app.db.connecting import one_by_one


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@a:1/d", ["postgresql://u:p@a:1/d"]),
        (
            "postgresql://u:p,q@a:1,b/d?target_session_attrs=read-write",
            [
                "postgresql://u:p,q@a:1/d?target_session_attrs=read-write",
                "postgresql://u:p,q@b/d?target_session_attrs=read-write",
            ],
        ),
        ("postgresql://[::1]:1,[::2]/d", ["postgresql://[::1]:1/d", "postgresql://[::2]/d"]),
        ("postgresql:///d?host=/run/a,/run/b", ["postgresql:///d?host=/run/a,/run/b"]),
    ],
)
def test_each_host_has_an_address_of_its_own(url: str, expected: list[str]) -> None:
    assert one_by_one(url) == expected
