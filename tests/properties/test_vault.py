from hypothesis import given
from hypothesis import strategies as st

from app.core.net.url_parts import url_parts, with_password
from app.vault import decrypt_target, encrypt_target
from tests.unit.test_vault import AMQP, JOB, KEYS

SECRETS = st.text(min_size=1, max_size=20) | st.integers() | st.lists(st.text(max_size=5))


@given(secret=SECRETS)
def test_every_json_value_comes_back_as_it_was(secret: object) -> None:
    target = {"url": "amqp://a/", "routing_key": "q", "headers": {"x-token": secret}}

    assert decrypt_target(
        AMQP, encrypt_target(AMQP, target, KEYS, job_id=JOB), KEYS, job_id=JOB
    ) == (target, [])


@given(
    st.from_regex(
        r"\A(https?|amqps?)?(://)?[a-z:@/?#%${}\[\].]{0,20}(\$\{secret:A\})?[a-z:@/?#]{0,9}\Z"
    )
)
def test_the_parts_of_any_url_are_the_url(url: str) -> None:
    assert str(url_parts(url)) == url
    assert with_password(url, lambda password: password) == url
