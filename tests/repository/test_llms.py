"""llms.txt says of each call what the API's description says."""

import re

from tests.repository.test_openapi import DOCUMENT, OPERATIONS
from tests.support.llms import PAGE, written


def test_the_page_in_docs_is_the_one_that_is_served() -> None:
    assert PAGE.read_text("utf-8") == written(), "write it anew: make llms"


def test_each_operation_is_listed_once() -> None:
    listed = re.findall(r"^- `([A-Z]+) (\S+)`", written(), re.MULTILINE)

    assert len(listed) == len(set(listed)) == len(OPERATIONS)
    assert all(method.lower() in DOCUMENT["paths"][path] for method, path in listed)
