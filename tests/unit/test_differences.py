"""What pages show of an edit."""

import re
from pathlib import Path

from app.web.differences import MAX_SHOWN, Difference, differences, together

TEMPLATES = Path(__file__).parents[2] / "app" / "web" / "templates"


def difference(part: str, before: str | None, after: str | None) -> Difference:
    return Difference(part=part, before=before, after=after)


def test_parts_of_a_target_are_compared_one_by_one() -> None:
    before = {"cron": "0 3 * * *", "target": {"url": "http://a", "method": "POST"}}
    after = {"cron": "0 4 * * *", "target": {"url": "http://b", "method": "POST"}}

    assert differences(before, after) == [
        difference("cron", "0 3 * * *", "0 4 * * *"),
        difference("target.url", "http://a", "http://b"),
    ]


def test_what_is_new_or_gone_has_one_side_and_nothing_is_no_side() -> None:
    assert differences({"tags": ["a"], "max_runs": None}, {"tags": [], "max_runs": 3}) == [
        difference("tags", '["a"]', None),
        difference("max_runs", None, "3"),
    ]
    assert differences(None, {"name": "a", "paused_at": None}) == [difference("name", None, "a")]
    assert differences({"name": "a"}, None) == [difference("name", "a", None)]
    assert differences(None, {"paused_at": "2026-11-30T14:07:03.929143+00:00"}) == [
        difference("paused_at", None, "2026-11-30 14:07:03.929143 UTC")
    ]


def test_what_the_log_does_not_keep_is_said_to_be_changed() -> None:
    secret = {"target": {"auth": "***"}}

    [one] = differences(secret, secret, ["target.auth"])

    assert one == difference("target.auth", None, None)
    assert together([[one]]) == [one]
    pause = ({"paused_at": None}, {"paused_at": "now"}, ["pause"])
    assert differences(*pause) == [difference("paused_at", None, "now")]


def test_a_long_value_is_cut() -> None:
    [one] = differences(None, {"description": "x" * 10_000})

    assert one.after is not None
    assert len(one.after) == MAX_SHOWN + 1


def test_several_edits_are_one_difference_without_what_was_changed_back() -> None:
    edits = [
        differences(before, after)
        for before, after in (
            ({"timeout_seconds": 60.0, "cron": "4"}, {"timeout_seconds": 90.5, "cron": "3"}),
            ({"timeout_seconds": 30.0}, {"timeout_seconds": 60.0}),
            ({"cron": "3"}, {"cron": "4"}),
        )
    ]

    assert together(edits) == [difference("timeout_seconds", "30", "90.5")]


def test_every_address_of_a_template_is_below_the_path_of_the_proxy() -> None:
    for file in TEMPLATES.iterdir():
        text = file.read_text("utf-8")
        assert not re.findall(r'(?:href|action|src|connect)="/', text), file.name
