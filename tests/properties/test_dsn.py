import re

from hypothesis import given
from hypothesis import strategies as st

from app.dsn import masked, parse
from app.errors import InvalidSettings


@given(st.text(alphabet="abcXY019@:/?#&=% '\\,[]", min_size=1, max_size=12))
def test_no_address_of_any_form_shows_its_password(password: str) -> None:
    secret = f"Zq{password}qZ"
    pieces = [one for one in re.split(r"[@:/?#&=% '\\,\[\]]", secret) if "q" in one]
    for text in (f"postgresql://me:{secret}@db/x", f"me:{secret}@db", f"host=db password={secret}"):
        shown = masked(text)
        try:
            parse(text)
        except InvalidSettings as error:
            shown += str(error)
        assert not [one for one in pieces if one in shown], (text, shown)
