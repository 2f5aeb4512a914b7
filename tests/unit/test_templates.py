"""Templates are found, and checked when they are written, without being evaluated."""

from typing import Any

import pytest

from app.core.secrets.places import spots_in
from app.errors import InvalidInput
from app.targets.registry import target_type
from app.targets.templated import check_references
from app.templates.fields import templates_in
from app.templates.renderer import TemplateFailed
from app.vault.prepare import check_target

URL = "https://example.com/hook"
AMQP = {"url": "amqp://broker/", "routing_key": "q"}


def found(kind: str, target: dict[str, Any]) -> dict[tuple[str | int, ...], str]:
    type_ = target_type(kind)
    return templates_in(type_.templatable, target, spots_in(type_, target))


def refused(kind: str, target: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refusal:
        check_target(kind, target)
    return {error.field: error.message for error in refusal.value.errors}


def test_only_fields_that_a_target_declares_are_templates() -> None:
    target = {"url": f"{URL}/{{{{ a }}}}", "body": "{{ b }}", "headers": {"X-A": "{{ c }}"}}

    assert found("http", target) == {}
    assert found("http", target | {"templates": ["body"]}) == {("body",): "{{ b }}"}
    assert found("http", target | {"templates": ["method", 7, None, "headers"]}) == {
        ("headers", "X-A"): "{{ c }}"
    }


def test_texts_anywhere_in_json_are_templates_and_names_are_none() -> None:
    value = {"{{ name }}": ["{{ a }}", 1, {"deep": "{% if b %}c{% endif %}"}], "plain": "x"}

    assert found("http", {"url": URL, "json": value, "templates": ["json"]}) == {
        ("json", "{{ name }}", 0): "{{ a }}",
        ("json", "{{ name }}", 2, "deep"): "{% if b %}c{% endif %}",
    }


def test_json_however_deep_is_searched_without_recursion() -> None:
    value: Any = "{{ a }}"
    for _ in range(4_000):
        value = [value]

    assert len(found("http", {"url": URL, "json": value, "templates": ["json"]})) == 1


def test_what_is_secret_is_never_a_template() -> None:
    target = {
        "url": URL,
        "headers": {"X-Api-Key": "{{ 7 * 7 }}", "Authorization": "{{ a }}", "X-A": "{{ b }}"},
        "auth": {"type": "bearer", "token": "{{c}}"},
        "templates": ["headers", "auth", "url", "body", "json"],
    }

    assert found("http", target) == {("headers", "X-A"): "{{ b }}"}
    check_target("http", target | {"headers": {"X-Api-Key": "{{ 7 *"}, "templates": ["headers"]})


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("http", {"url": f"{URL}/{{{{ job.id }}}}?at={{{{ run.previous }}}}"}),
        ("http", {"url": URL, "headers": {"X-A": "{{ job.metadata['a b'] }} é"[:-2]}}),
        (
            "http",
            {"url": URL, "body": "{% for t in job.tags %}{{ loop.index }} {{ t }}{% endfor %}"},
        ),
        ("http", {"url": URL, "body": "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(attempt) }}"}),
        ("http", {"url": URL, "json": {"at": "{{ run.scheduled_for | strftime('%F') }}"}}),
        ("http", {"url": URL + "/${secret:HOOK}/{{ attempt }}"}),
        ("amqp", AMQP | {"routing_key": "reports.{{ job.name | lower }}", "exchange": "e"}),
        ("amqp", AMQP | {"headers": {"x": "{{ run.key }}"}, "correlation_id": "{{ run.key }}"}),
    ],
)
def test_templates_that_can_be_rendered_are_taken(kind: str, target: dict[str, Any]) -> None:
    declared = sorted(target.keys() & {*target_type(kind).templatable})

    check_target(kind, target | {"templates": declared})


@pytest.mark.parametrize(
    ("target", "field", "says"),
    [
        ({"body": "{{ 1 +"}, "target.body", "line 1: unexpected"),
        ({"body": "a\n{% if x %}"}, "target.body", "line 2: "),
        ({"headers": {"X-A": "{{ runn.next }}"}}, "target.headers.X-A", "there is no 'runn'"),
        ({"json": [1, {"a": "{{ run.nxt }}"}]}, "target.json[1].a", "there is no run.nxt"),
        ({"body": "{{ job.secret }}"}, "target.body", "there is no job.secret"),
        ({"body": "{{ attempt | nofilter }}"}, "target.body", "there is no filter 'nofilter'"),
        ({"body": "{{ 1 is odder }}"}, "target.body", "there is no test 'odder'"),
        ({"body": "{% include 'x' %}"}, "target.body", "can load no other one"),
        ({"body": "{% extends 'x' %}"}, "target.body", "can load no other one"),
        ({"body": "{{ lipsum() }}"}, "target.body", "there is no 'lipsum'"),
        ({"body": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"}, "target.body", "too deep"),
        ({"body": "{{ a }}" * 10_000}, "target.templates", "65536 characters"),
        ({"url": "https://{{ job.name }}.example.com/"}, "target.url", "behind the first /"),
        ({"url": "{{ job.metadata.url }}"}, "target.url", "behind the first /"),
        ({"url": "https://example.com{{ job.name }}/"}, "target.url", "behind the first /"),
        ({"url": "https://example.com:{{ attempt }}/"}, "target.url", "behind the first /"),
        ({"url": "https://example.com{# a #}/"}, "target.url", "behind the first /"),
        ({"url": URL + "/a b/{{ attempt }}"}, "target.url", "characters of RFC 3986"),
        ({"headers": {"X-A": "a\r\n{{ attempt }}"}}, "target.headers.X-A", "visible ASCII"),
        ({"templates": ["method"]}, "target.templates[0]", "not an allowed value"),
    ],
)
def test_a_template_that_no_run_could_render_is_refused_with_its_field(
    target: dict[str, Any], field: str, says: str
) -> None:
    declared = sorted(target.keys() & {"url", "headers", "body", "json"})

    [(where, message)] = refused("http", {"url": URL, "templates": declared} | target).items()

    assert where == field
    assert says in message


@pytest.mark.parametrize(
    "source",
    ["{{ 'a' * 10 ** 10 }}", "{{ 'a' | center(10 ** 10) }}", "{{ 9 ** 9 ** 9 ** 9 }}"],
)
def test_nothing_of_a_template_is_evaluated_when_it_is_checked(source: str) -> None:
    check_target("http", {"url": URL, "body": source, "templates": ["body"]})


def test_a_text_may_become_no_reference_that_its_template_does_not_have() -> None:
    check_references(("url",), source="${secret:A}/{{ a }}", result="${secret:A}/b")
    with pytest.raises(TemplateFailed, match=r"target\.headers\.X-A: .* no other secret"):
        check_references(("headers", "X-A"), source="{{ a }}", result="${secret:A}")
