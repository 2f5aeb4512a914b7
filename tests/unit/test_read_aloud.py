"""What reads badly to those who do not see a page is found."""

import pytest

from tests.support.read_aloud import troubles

Node = tuple[int, str, str, int]
PAGE: list[Node] = [
    (0, "RootWebArea", "Jobs", 0),
    (1, "banner", "", 0),
    (2, "navigation", "Pages", 0),
    (1, "main", "", 0),
    (2, "heading", "Jobs", 1),
    (2, "heading", "Runs", 2),
    (2, "image", "3 runs, 1 failed", 0),
    (2, "link", "next", 0),
    (1, "contentinfo", "", 0),
]


def test_a_page_that_reads_well_has_no_troubles() -> None:
    assert list(troubles(PAGE)) == []


@pytest.mark.parametrize(
    ("at", "node", "said"),
    [
        (3, (1, "generic", "", 0), "landmarks are not there"),
        (4, (2, "heading", "Jobs", 2), "the only one of the first level"),
        (5, (2, "heading", "Runs", 3), "leave out a level"),
        (6, (2, "image", "", 0), "image without a name"),
        (7, (2, "link", " ", 0), "link without a name"),
        (7, (3, "listitem", "1 run", 0), "is read piece by piece"),
        (7, (2, "region", "Pages", 0), "the same names"),
    ],
)
def test_each_trouble_is_told(at: int, node: Node, said: str) -> None:
    [told] = troubles([*PAGE[:at], node, *PAGE[at + 1 :]])

    assert said in told
