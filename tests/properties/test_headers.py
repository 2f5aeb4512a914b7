from hypothesis import given
from hypothesis import strategies as st

from app.core.field_paths import joined
from app.core.net.headers import header_errors


@given(headers=st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
def test_headers_that_pass_cannot_add_lines_or_break_the_framing(headers: dict[str, str]):
    refused_fields = {problem.field for problem in header_errors(headers, field="h")}

    for name in (name for name in headers if joined("h", name) not in refused_fields):
        line = f"{name}: {headers[name]}".encode("ascii")
        assert line.splitlines() == [line]
        assert name.lower() not in {"host", "content-length", "transfer-encoding", "connection"}
