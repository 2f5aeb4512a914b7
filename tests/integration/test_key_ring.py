"""How long the keys that an API process has read count, by a clock that the test moves on."""

from app.api.access import TRUSTED_SECONDS, KeyRing
from app.core.access.api_key import RANDOM_BYTES, Scope, issue
from app.db import Database, keys
from tests.support.ticks import Ticks


async def test_a_revoked_key_counts_until_the_keys_are_read_again(db: Database) -> None:
    ticks = Ticks()
    ring = KeyRing(db, clock=ticks)
    issued = issue(bytes(range(RANDOM_BYTES)))
    key = await keys.create(db, issued, name="one", scopes=[Scope.READ], expires_in_seconds=None)
    before = await ring.find(issued.key)
    await keys.revoke(db, key)

    ticks.now += TRUSTED_SECONDS
    still = await ring.find(issued.key)
    ticks.now += 0.001
    after = await ring.find(issued.key)

    assert before is not None
    assert still is not None
    assert after is None


async def test_a_key_that_expires_ends_by_the_clock_of_the_process(db: Database) -> None:
    ticks = Ticks()
    ring = KeyRing(db, clock=ticks)
    issued = issue(bytes(range(RANDOM_BYTES)))
    await keys.create(db, issued, name="one", scopes=[Scope.READ], expires_in_seconds=1.0)
    before = await ring.find(issued.key)

    ticks.now += 1.0
    after = await ring.find(issued.key)

    assert before is not None
    assert after is None
