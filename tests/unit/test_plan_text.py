"""Plans of sets as people read them."""

import time
from collections.abc import Iterator

import pytest

from app.cli.remote.output import Output
from app.cli.remote.plan_text import plan_lines, run_lines


def test_nothing_that_is_shown_commands_the_terminal() -> None:
    change = {"field": "metadata.\x1bc", "before": "\x9b2J", "after": 1}
    step = {"kind": "job", "name": "\x1b[2J", "action": "change", "changes": [change]}
    warning = {"field": "jobs.\x1bc.target", "message": "\x07"}
    plan = {
        "set": "s",
        "steps": [step | {"detail": "\x1b[2J"}],
        "warnings": [warning],
        "counts": {"change": 1},
    }

    lines = [*plan_lines(plan, text=Output("table", (), utc=True).text, zone="UTC")]

    assert lines[1].startswith("    metadata.")
    assert [one for one in lines if not one.isprintable()] == []


def test_runs_are_shown_with_the_zone_whose_clocks_they_are_by() -> None:
    output = Output("table", (), utc=True)
    run = "2026-11-30T02:00:00Z"
    of_new = {"before": [], "after": [run], "dropped": []}
    of_changed = {"before": [run], "after": [run], "dropped": []}

    [new] = run_lines(of_new, output.text, output.zone)
    head, _ = run_lines(of_changed, output.text, output.zone)

    assert new.startswith("    runs (UTC)  2026-11-30 02:00:00")
    assert head.startswith("    runs before (UTC)")


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the clocks of Berlin as those of this machine."""
    with monkeypatch.context() as local:
        local.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_an_instant_on_the_other_side_of_a_change_of_clocks_says_what_they_are_called_then() -> (
    None
):
    output = Output("table", (), utc=False)

    winter, summer = [output.text(f"2027-{month}-01T12:00:00Z") for month in ("01", "07")]

    assert winter.startswith("2027-01-01 13:00:00" + (" CET" if output.zone == "CEST" else " ("))
    assert summer.startswith("2027-07-01 14:00:00" + (" CEST" if output.zone == "CET" else " ("))
