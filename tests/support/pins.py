"""The pins that running Tocsin takes, out of all: `make constraints` writes constraints-run.txt.

`python -m tests.support.pins` does so as well, of the packages that are installed.
"""

from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.releases import ROOT
from tests.support.sbom import pinned

FILE = ROOT / "constraints-run.txt"
ASKED = ("tocsin[embedded]", "hatchling", "editables")
"""What `make run` installs: Tocsin, with a Postgres, and what an editable install needs."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
HEAD = "# The part of constraints.txt that `make run` installs; `make constraints` writes both.\n"


def needed() -> set[str]:
    """Name all packages that these need with any Python that there may be."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in ASKED]
    while waiting:
        one = waiting.pop()
        try:
            below = [Requirement(text) for text in requires(one.name) or ()]
        except PackageNotFoundError:  # of another Python than this one
            continue
        for each in below:
            name = canonicalize_name(each.name)
            if is_wanted(each, one.extras or {""}) and (name not in found or each.extras):
                found.add(name)
                waiting.append(each)
    return found | {canonicalize_name(Requirement(one).name) for one in ASKED} - {"tocsin"}


def is_wanted(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(
        requirement.marker.evaluate(
            {"extra": extra, "python_version": python, "python_full_version": f"{python}.0"}
        )
        for extra in extras
        for python in PYTHONS
    )


def written() -> str:
    """Return the file."""
    return HEAD + "\n".join(pinned(needed())) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")
