"""Plans of sets as people read them."""

from app.cli.remote.output import Output
from app.cli.remote.plan_text import plan_lines


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

    lines = [*plan_lines(plan, text=Output("table", (), utc=True).text)]

    assert lines[1].startswith("    metadata.")
    assert [one for one in lines if not one.isprintable()] == []
