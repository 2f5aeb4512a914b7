"""Whatever a target holds, its secrets are hidden and can be put back."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from app.core.secrets.masking import mask, unmask
from app.targets.auth import AUTH_TYPES
from app.targets.registry import target_type

HTTP = target_type("http")
AMQP = target_type("amqp")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3)
    ),
    max_leaves=10,
)
NAMES = ["url", "headers", "auth", "json", "type", "X-Token", "token", "password", "a"]
LIKE_A_TARGET = st.dictionaries(
    st.sampled_from(NAMES),
    JSON
    | st.dictionaries(st.sampled_from(NAMES), JSON | st.sampled_from(list(AUTH_TYPES)), max_size=4),
)


@given(target=LIKE_A_TARGET, type_=st.sampled_from([HTTP, AMQP, None]))
def test_what_was_masked_can_always_be_unmasked(target: dict[str, Any], type_: type[Struct] | None):
    assert unmask(type_, mask(type_, target), target) == target


CANARY = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8).map(
    lambda text: f"canary{text}canary"
)
IN_A_URL = CANARY.filter(lambda text: "@" not in text)


@given(canary=CANARY, password=IN_A_URL, auth=st.sampled_from(["basic", "bearer", "header"]))
def test_no_planted_secret_is_ever_shown(canary: str, password: str, auth: str):
    secret = {"basic": "password", "bearer": "token", "header": "value"}[auth]
    http = {
        "url": "https://example.com/",
        "headers": {"Authorization": canary, "X-Signature": canary, "x-session-id": canary},
        "auth": {"type": auth, "username": "me", "name": "X-Mine", secret: canary},
    }
    amqp = {
        "url": f"amqp://me:{password}@broker/",
        "headers": {"secret": canary, "deep": {"my-key": [canary]}},
    }

    shown = json.dumps([mask(HTTP, http), mask(AMQP, amqp)])

    assert "canary" not in shown
