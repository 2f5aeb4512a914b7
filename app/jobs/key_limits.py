"""The limits of API keys where targets are known, and jobs are counted.

The rules are in `app.core.access.key_limits`. Every job that is written passes `draft_new` or
`draft_edit`, which ask here, and every new one `app.db.jobs.insert`, which counts.
"""

from collections.abc import Iterator
from typing import Any

from app.core.access.key_limits import KeyLimits, host_errors
from app.core.alerts.presets import Preset, kind_of
from app.core.runs.expectation import CHECK
from app.db import keys
from app.db.database import Acting
from app.errors import WHOLE, InvalidInput, KeyLimitError
from app.targets.registry import addresses_of, target_type
from app.wire.alerts import ChannelDocument


def target_errors(kind: str, target: dict[str, Any], limits: KeyLimits) -> Iterator[KeyLimitError]:
    """Refuse a target, checked before, that leads where a job of the key may not send to.

    The target may have `***`, references and templates, none of which can stand for a host.
    """
    if limits.allowed_hosts is None or kind == CHECK:  # which calls nobody
        return
    addresses = addresses_of(kind, target)
    if not addresses:
        message = (
            f"names no host, and the API key has the limit allowed_hosts: {kind} is not for it"
        )
        yield KeyLimitError(field="target", message=message)
    yield from host_errors(target, addresses, limits)
    for name in target_type(kind).leading_on:
        if target.get(name):
            message = (
                "lets a server lead elsewhere, and the API key has the limit allowed_hosts: leave "
                "it out, and write the last address into url"
            )
            yield KeyLimitError(field=f"target.{name}", message=message)


def refuse_hosts(channel: Any, limits: KeyLimits) -> None:  # noqa: ANN401 - any member of a set
    """Refuse an alert channel that leads where a job of the key may not send to.

    Raises:
        InvalidInput: naming what is wrong.
    """
    if not isinstance(channel, ChannelDocument):
        return
    kind = kind_of(Preset(channel.preset))
    if errors := [*target_errors(kind, channel.target, limits)]:
        raise InvalidInput(*errors)


async def queue(db: Acting) -> None:
    """Wait for others that make jobs with the same key, if it may make only so many.

    A transaction that locks what others wait for does so first: else they wait as well, and two
    transactions of the key might each have what the other one needs.
    """
    if db.limits.max_jobs is not None and db.limits.key_id is not None:
        await keys.queue(db, db.limits.key_id)


class NotYet(Exception):
    """Other requests that make jobs with the same key have yet to commit: begin anew, later."""


async def queue_now(db: Acting) -> None:
    """As `queue`, without a wait.

    Raises:
        NotYet: others have to be waited for.
    """
    if db.limits.max_jobs is None or db.limits.key_id is None:
        return
    if not await keys.queue_now(db, db.limits.key_id):
        raise NotYet


async def check_room(db: Acting, many: int) -> None:
    """Refuse so many new jobs if the key may not make them: for a plan, as nothing is written yet.

    Raises:
        InvalidInput: for all of it.
    """
    if not many or db.limits.max_jobs is None or db.limits.key_id is None:
        return
    room = await keys.find_room(db, db.limits.key_id)
    if room is not None and many > room[0] - room[1]:
        most, made = room
        message = (
            f"the limit max_jobs of the API key is {most}, and it has made {made} of the jobs that "
            f"exist: {many} more are too many. Delete jobs that are of no use any more, or use a "
            "key that may make more."
        )
        raise InvalidInput(KeyLimitError(field=WHOLE, message=message))
