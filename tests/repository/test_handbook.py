"""The documentation site has every page, and its reference all that the code has."""

import re
from pathlib import Path

import click
import pytest
from msgspec.structs import fields

from app.api.problems import KINDS, REFUSALS
from app.cli.main import main
from app.config import Settings
from app.core.jobs.job import Job, JobDocument
from app.targets.registry import KINDS as TARGETS
from app.targets.registry import target_type
from handbook.__main__ import reference
from handbook.layout import ROOT, navigation, shown_files, unlisted
from handbook.links import wrong_links
from handbook.reference.api import document, operations
from handbook.reference.fields import since

MADE = reference("")
PAGES = {name.removeprefix("docs/reference/"): text for name, text in MADE.items()}


def first_cells(page: str) -> set[str]:
    """Return what stands as code at the beginning of rows."""
    return set(re.findall(r"^\| `([^`]+)` \|", PAGES[page], re.MULTILINE))


def test_every_page_is_in_the_navigation() -> None:
    assert unlisted() == [], "add it to nav in zensical.toml"


def test_the_navigation_names_no_page_that_is_not_there() -> None:
    there = {*map(str, shown_files()), *MADE}

    assert set(navigation()) - there == set()


def test_the_index_of_the_reference_says_of_each_page_what_it_is_made_of() -> None:
    titles = {text.partition("\n")[0].removeprefix("# ") for text in MADE.values() if text}
    index = (ROOT / "docs" / "reference" / "README.md").read_text("utf-8")

    assert set(re.findall(r"^\| ([^|]+) \|", index, re.MULTILINE)) - {"page"} == titles | {"SQL"}


def test_every_field_of_a_job_and_its_target_is_in_the_reference() -> None:
    wanted = {field.encode_name for cls in (JobDocument, Job) for field in fields(cls)}
    for kind in TARGETS:
        wanted |= {field.encode_name for field in fields(target_type(kind))}

    assert wanted <= first_cells("fields.md")


def test_a_field_says_with_which_release_it_came() -> None:
    [row] = re.findall(r"^\| `priority` .*", PAGES["fields.md"], re.MULTILINE)[:1]

    assert row.startswith("| `priority` | integer | 0 to 3 | `0` | Goes first ")
    assert since()["priority"] == "0.2.0"
    assert "cron" not in since()


def test_every_operation_is_in_the_reference() -> None:
    paths = document()["paths"]

    wanted = {f"### {method} {path}" for method, path, _ in operations(paths)}

    assert wanted <= set(PAGES["api.md"].splitlines())
    assert len(wanted) > 60


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    assert first_cells("settings.md") == {f"TOCSIN_{one.name.upper()}" for one in fields(Settings)}
    assert "| `TOCSIN_LEASE_SECONDS` | `60` | seconds from 3 to 3600 |" in PAGES["settings.md"]


def test_every_command_is_in_the_reference() -> None:
    for name in main.list_commands(click.Context(main)):
        assert re.search(rf"^### tocsin {name}\b", PAGES["commands.md"], re.MULTILINE), name
    assert "| `--processes " in PAGES["commands.md"]


def test_every_problem_is_in_the_reference() -> None:
    for kind in (*KINDS.values(), *REFUSALS.values()):
        assert f"`urn:tocsin:problem:{kind.slug}`" in PAGES["words.md"]


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ('<a href="other/">', None),
        ('<a href="other/#there">', None),
        ('<a href="https://example.com">', None),
        ('<a href="other/#not">', "index.html links to other/#not"),
        ('<a href="missing.yaml">', "index.html links to missing.yaml"),
        ('<img src="missing.png">', "index.html links to missing.png"),
        ('<script src="https://example.com/x.js">', "index.html loads https://example.com/x.js"),
    ],
)
def test_a_link_of_the_site_that_leads_nowhere_is_named(
    link: str, said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text('<h2 id="there">x</h2>')
    (tmp_path / "index.html").write_text(link)

    assert list(wrong_links(tmp_path)) == [said] * (said is not None)
