from hypothesis import given
from hypothesis import strategies as st

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
