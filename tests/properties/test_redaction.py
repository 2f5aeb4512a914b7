from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from app.core.secrets import redaction
from app.core.secrets.redaction import redact
from tests.unit.test_redaction import ENCODINGS


@given(
    secret=st.text(min_size=6, max_size=30),
    names=st.lists(st.sampled_from(list(ENCODINGS)[:23]), min_size=1, max_size=2),
)
def test_a_text_that_is_a_secret_escaped_twice_over_is_all_hidden(
    secret: str, names: list[str]
) -> None:
    text = secret
    for name in names:
        text = ENCODINGS[name](text)

    hidden = redact({secret}, f"[{text}]")

    if len(secret.replace("\r", "").replace("\n", "")) > 5:
        assert secret not in hidden


@given(st.text(max_size=200), st.text(min_size=4, max_size=12))
def test_a_text_without_the_secret_stays_as_it_is(text: str, secret: str) -> None:
    innocent = "".join(letter for letter in text if letter in "abc <>\n%&\\;")

    assert redact({"0123456789"}, innocent) == innocent
    redact({secret}, text)


@given(
    secrets=st.sets(st.text(min_size=4, max_size=20), min_size=1, max_size=4),
    names=st.lists(st.sampled_from(list(ENCODINGS)), max_size=2),
    around=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    length=st.integers(min_value=0, max_value=80),
)
@example(secrets={"%41bcd"}, names=[], around=("", "Abcd"), length=80)
@example(
    secrets={"a+b/c?"}, names=["in base64 for URLs after one letter"], around=("", ""), length=9
)
def test_the_quick_check_passes_over_no_secret(
    secrets: set[str], names: list[str], around: tuple[str, str], length: int
) -> None:
    text = min(secrets)
    for name in names:
        text = ENCODINGS[name](text)
    text = f"{around[0]}{text}{around[1]}"[:length]

    quick = redact(secrets, text)
    with patch.object(redaction, "suspects", lambda secrets, _: list(secrets)):
        assert redact(secrets, text) == quick
