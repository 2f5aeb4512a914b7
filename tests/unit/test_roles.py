"""What db/roles.sql grants is what doctor and instances look for, right by right."""

import re

import pytest

from tests.support.pages import ROOT
from tests.support.roles import documented

RIGHTS = (ROOT / "db" / "queries" / "rights.sql").read_text("utf-8")
NEEDED = re.findall(r"^    \('(\w+)', '([\w, ]+)', '(\w+)', '(\w+)'\)", RIGHTS, re.MULTILINE)
GRANT = re.compile(
    r"grant ([a-z_, ()]+) on (function |sequence )?(tocsin\.[\w., \n]+?) to \{role\}"
)


def granted(role: str) -> set[tuple[str, str]]:
    """List each privilege that a role gets, with the name of what it is for."""
    return {
        (privilege.strip(), name.strip().removeprefix("tocsin."))
        for privileges, _, names in GRANT.findall(documented(role))
        for privilege in privileges.split(",")
        for name in names.split(",")
        if "(" not in privilege  # of single columns
    }


def looked_for(*purposes: str) -> set[tuple[str, str]]:
    return {
        (privilege, name)
        for purpose, privileges, kind, name in NEEDED
        if purpose in purposes and kind not in ("schema", "role")
        for privilege in privileges.split(", ")
    }


@pytest.mark.parametrize(
    ("role", "purposes"), [("tocsin_instance", ("instance", "upkeep")), ("tocsin_api", ("api",))]
)
def test_each_right_of_a_role_is_looked_for(role: str, purposes: tuple[str, ...]) -> None:
    assert len(granted(role)) > 40
    assert granted(role) - looked_for(*purposes) == set()
    assert looked_for(*purposes) - granted(role) == set()
