"""Kinds that other packages bring."""

import sys
from collections.abc import Iterator
from importlib.metadata import DistributionFinder, MetadataPathFinder
from pathlib import Path

import pytest

from app.core.facts import Ignored
from app.targets.registry import EXECUTORS, GROUP, all_executors
from tests.support.packages import install

KINDS = """
from typing import Annotated
from app.core.secrets.masking import Secret
from app.targets.base import Shown, Target, Where

class LetterTarget(Target, frozen=True, kw_only=True):
    street: str
    seal: Secret = ""

class Letter:
    kind = "letter"
    target_type = LetterTarget
    where_type = Where
    shown = {"street": Shown(whole=True)}

class Http(Letter):
    kind = "http"

class Lost(Letter):
    kind = "lost"
    where_type = str

class Telling(Letter):
    kind = "telling"
    shown = {"seal": Shown(whole=True)}

class Unreadable(Letter):
    kind = "unreadable"
    class target_type(Target, frozen=True, kw_only=True):
        what: complex | bytes | str
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a folder that packages can be installed into."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if module in {"letters", "broken"}:
            del sys.modules[module]


def found(place: Path, **entry_points: str) -> tuple[dict[str, object], tuple[Ignored, ...]]:
    modules = {"letters": KINDS, "broken": "raise RuntimeError('no stamps')"}
    install(place, "post", modules=modules, entry_points=entry_points)
    finder = MetadataPathFinder.find_distributions(DistributionFinder.Context(path=[str(place)]))
    executors, ignored = all_executors(
        point for one in finder for point in one.entry_points.select(group=GROUP)
    )
    return dict(executors), ignored


def test_a_package_brings_a_kind(place: Path) -> None:
    executors, ignored = found(place, letter="letters:Letter")

    assert set(executors) == {*EXECUTORS, "letter"}
    assert executors["letter"].__name__ == "Letter"  # type: ignore[attr-defined]
    assert ignored == ()


@pytest.mark.parametrize(
    ("kind", "where", "because"),
    [
        ("letter", "broken:Letter", "RuntimeError: no stamps"),
        ("letter", "nowhere:Letter", "No module named 'nowhere'"),
        ("letter", "letters:Missing", "has no attribute 'Missing'"),
        ("letter", "letters:LetterTarget", "target_type"),
        ("letter", "letters:Http", "its kind is 'http'"),
        ("http", "letters:Http", "another executor has this kind"),
        ("unreadable", "letters:Unreadable", "TypeError"),
        ("lost", "letters:Lost", "where_type"),
        ("telling", "letters:Telling", "shows 'seal', which may hold a secret"),
    ],
)
def test_a_package_that_is_broken_costs_its_own_kind_and_is_named(
    place: Path, kind: str, where: str, because: str
) -> None:
    executors, [ignored] = found(place, **{kind: where})

    assert executors == EXECUTORS
    assert ignored.setting == f"executor {kind} of post 1.0"
    assert because in ignored.because
