"""Prepares targets to be stored (`prepare`), and checks them.

A target is gone through once, to find its secrets (each a `Spot`: field, place and value). These
are then unmasked, checked, searched for references to named secrets, and encrypted.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Any
from uuid import UUID

from msgspec import Struct

from app.core.field_errors import MAX_ERRORS
from app.core.jobs.exact_json import same
from app.core.net.url_parts import url_parts
from app.core.secrets.bindings import WITH_TLS, Destination, place_of
from app.core.secrets.masking import (
    Unshown,
    is_masked,
    mask,
    masked,
    texts,
    unmask_spots,
)
from app.core.secrets.places import NOTHING, Part, Path, Spot, change_spots, spots_in
from app.core.secrets.references import (
    BEGINNING,
    MAX_REFERENCES,
    NAME,
    filled,
)
from app.db import secrets
from app.db.database import Runner
from app.errors import FieldError, InvalidInput
from app.targets.registry import (
    BUILT_IN,
    EXECUTORS,
    addresses_for,
    addresses_of,
    decode_target,
    target_type,
)
from app.templates.fields import templates_in
from app.vault.keys import PREFIX, SecretKeys, encrypt_spots, is_token
from app.vault.named import binding_error, places_of

STAND_IN = "x"
"""Stands, in checks, for the value of a named secret: a text that headers and URLs may have."""
Written = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Returns what a client wrote, given the target of the job with `***` for each secret: of a merge
patch what comes of that target; None: the target as it was given."""
IN_CLEAR = frozenset({"amqp", "http"})
"""Schemes without TLS. One of neither this nor `WITH_TLS` may begin with it, or change to it."""
SIGNATURE = "signature"
"""The type of an auth whose secrets make signatures, see `app.targets.auth.signature`."""
UNOPENED = (
    "is encrypted, and is not decrypted here: add its key to TOCSIN_SECRET_KEYS or, if it is from "
    "another job or place, write the secret out"
)


class Referring(Struct, frozen=True, kw_only=True):
    """The named secrets that a target refers to, and the hosts that it would send them to."""

    fields: Mapping[str, str] = {}
    """The names of the secrets, each with the first field that refers to the secret."""
    places: frozenset[Destination] = frozenset()
    """The hosts of the target; empty if the target refers to no secret."""


class Prepared(Unshown, frozen=True, kw_only=True):
    """A target that passed every check but that of its named secrets, see `check_bindings`."""

    stored: dict[str, Any]
    """The target to store: its secrets are encrypted if there are keys."""
    referring: Referring


def prepare(  # noqa: PLR0913 - what an edit is judged by
    kind: str,
    target: dict[str, Any],
    keys: SecretKeys,
    *,
    job_id: UUID,
    kept: dict[str, Any] | None = None,
    written: Written = lambda _: None,
) -> Prepared | None:
    """Make what a client wrote ready to be stored as the target of a job of this kind.

    `kept` is the target that the job has, in clear, of the same kind; its secrets take the place
    of `***`, and go nowhere else than before. `written`: see `Written`. Returns None where that
    makes the target the job has already. Such a target is not checked: an edit of other fields is
    not refused for a target that was written in SQL and is wrong.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    type_ = target_type(kind)
    spots = spots_in(type_, target, stored=NOTHING if kept is None else kept)
    clear = unmask_spots(target, spots)
    if kept is not None and same(clear, kept):
        return None
    if clear is not target:
        spots = spots_in(type_, clear)
    referring = check_spots(kind, clear, spots)
    if kept is not None:
        check_kept(kind, clear, kept, lambda: written(mask(type_, kept)) or target)
    return Prepared(stored=encrypt_spots(clear, spots, keys, job_id=job_id), referring=referring)


def check_kept(
    kind: str, target: dict[str, Any], kept: dict[str, Any], written: Callable[[], dict[str, Any]]
) -> None:
    """Refuse a target that may send secrets of the job elsewhere which nobody has written out.

    A caller who may edit a job, or send a test of it, need not know its secrets, and could have
    them sent to a server of their own. `target` and `kept` are in clear. Each secret is judged by
    where it is meant for, see `Where.addresses_for`, and by who else may pass for that server.

    Raises:
        InvalidInput: naming every such secret.
    """
    same_urls = "" not in (urls := addresses_of(kind, target)) and urls == addresses_of(kind, kept)
    if same_urls and all(
        weaker_field(kind, target, kept, at) is None for at in (("url",), ("auth",))
    ):
        return
    errors = [
        FieldError(field=spot.field, message=message)
        for spot in spots_in(target_type(kind), written(), stored=kept)
        if is_masked(spot.part, spot.value)
        and masked(spot.part, spot.stored) == spot.value
        and (message := elsewhere_error(kind, target, kept, spot.path))
    ]
    if errors:
        raise InvalidInput(*errors)


def weaker_field(
    kind: str, target: dict[str, Any], kept: dict[str, Any], secret: Path
) -> str | None:
    """Return the field with which another server than before may pass for that of a secret.

    A target of whatever kind, and its auth, may have `verify_tls`, `starttls` and a `ca`, which
    count where TLS is spoken. The system's authorities count as no weaker than a `ca`. None: there
    is no such field, or nobody is sent the secret.
    """
    if is_never_sent(kind, target, secret):
        return None
    for at in ((), ("auth",))[: 1 + (secret[0] == "auth")]:
        now, before = (one.get(at[0]) if at else one for one in (target, kept))
        if not isinstance(now, dict) or now.keys().isdisjoint(("verify_tls", "starttls", "ca")):
            continue
        before = before if isinstance(before, dict) else {}
        schemes = schemes_of(kind, target, now)
        begins_in_clear = bool(schemes - IN_CLEAR - WITH_TLS)
        is_lax = begins_in_clear and now.get("starttls", True) is not True
        was_lax = begins_in_clear and before.get("starttls", True) is not True
        speaks_tls = not (schemes <= IN_CLEAR or (schemes == {"smtp"} and (is_lax or was_lax)))
        was_verified = speaks_tls and before.get("verify_tls", True) is True
        weaker = {
            "verify_tls": was_verified and now.get("verify_tls", True) is not True,
            "starttls": is_lax and not was_lax,
            "ca": was_verified and authorities(now) not in (None, authorities(before)),
        }
        for name, is_weaker in weaker.items():
            if is_weaker:
                return ".".join(("target", *at, name))
    return None


def is_never_sent(kind: str, target: dict[str, Any], secret: Path) -> bool:
    """Return whether a secret only proves something: the key of a certificate, or of signatures.

    Those of kinds of others count as sent.
    """
    if EXECUTORS[kind] not in BUILT_IN:
        return False
    auth = target.get("auth")
    is_signed = isinstance(auth, dict) and auth.get("type") == SIGNATURE
    return secret == ("client_key",) or (secret[0] == "auth" and is_signed)


def schemes_of(kind: str, target: dict[str, Any], settings: dict[str, Any]) -> set[str | None]:
    """Return the schemes of the servers that the settings of a target, or of its auth, are for.

    None stands for that of an address that cannot be read.
    """
    if settings is target:
        urls = {url for use in addresses_for(kind, target, ("url",)) for url in use}
    else:
        urls = {str(settings.get("token_url"))}
    return {place_of(url).scheme for url in urls} or {None}


def authorities(settings: dict[str, Any]) -> object:
    """Return the `ca`, in which forms and editors may change the line ends, and those around it."""
    ca = settings.get("ca")
    return ca.replace("\r\n", "\n").strip() if isinstance(ca, str) else ca


def elsewhere_error(
    kind: str, target: dict[str, Any], kept: dict[str, Any], secret: Path
) -> str | None:
    """Say which server a secret is for in `target`, and was not for in `kept`; None if none is."""
    uses = (addresses_for(kind, one, secret) for one in (target, kept))
    for urls, before in zip_longest(*uses, fillvalue=()):
        places = frozenset(map(place_of, before))
        for url in urls:
            place = place_of(url)
            if place in places if place.host else url and url in before:
                continue
            given_for = ", ".join(sorted(str(one) for one in places if one.host)) or "no server"
            return (
                f"write the secret out again for {place if place.host else 'an unknown host'}: "
                f"it was given for {given_for}"
            )
    if field := weaker_field(kind, target, kept, secret):
        return (
            f"write the secret out again: with {field} as it is another server could pass for its"
        )
    return None


def check_target(kind: str, target: dict[str, Any], *, most: int = MAX_REFERENCES) -> Referring:
    """Check a target in clear; references may stand for anything that a secret can be.

    `most`: how many references it may have.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    return check_spots(kind, target, spots_in(target_type(kind), target), most=most)


def check_spots(
    kind: str, target: dict[str, Any], spots: Sequence[Spot], *, most: int = MAX_REFERENCES
) -> Referring:
    """Check a target, whose spots are known, as `check_target` does.

    Raises:
        InvalidInput: naming every field that is wrong, or is encrypted still.
    """
    check_number(spots, most=most)
    if unopened := [spot.field for spot in spots if holds_token(spot)]:
        raise InvalidInput(*(FieldError(field=field, message=UNOPENED) for field in unopened))
    fields: dict[str, str] = {}

    def fill(spot: Spot) -> object:
        def note(name: str) -> str:
            fields.setdefault(name, spot.field)
            return STAND_IN

        return filled(spot.part, spot.value, note)

    legible = change_spots(target, spots, fill)
    if impossible := sorted(name for name in fields if not NAME.fullmatch(name)):
        message = f"refers to {impossible[0]!r}, which no secret can be called"
        raise InvalidInput(FieldError(field="target", message=message))
    if "templates" in legible:
        legible = without_templates(kind, legible, spots)
    try:
        decode_target(kind, legible)
    except InvalidInput as refusal:
        unknown = {spot.field for spot in spots if is_unknown(spot)}
        errors = [one for one in refusal.errors if one.field not in unknown]
        if errors:
            raise InvalidInput(*errors) from None
    if not fields:
        return Referring()
    return Referring(fields=fields, places=places_of(kind, legible))


def check_number(spots: Sequence[Spot], *, most: int = MAX_REFERENCES) -> None:
    """Refuse a target in clear with more than `most` references, counted in its spots.

    Where a target is written and where it is carried out the same is counted, and of one that is
    stored more are taken: what the one took the other must not put aside.

    Raises:
        InvalidInput: it has.
    """
    many = sum(text.count(BEGINNING) for spot in spots for text in texts(spot.value))
    if many > most:
        message = f"may refer to secrets {most} times at most"
        raise InvalidInput(FieldError(field="target", message=message))


def without_templates(kind: str, target: dict[str, Any], spots: Sequence[Spot]) -> dict[str, Any]:
    """Check the templates of a target; return the target with texts such as they may become.

    Raises:
        InvalidInput: naming every field whose template is wrong.
    """
    templates = templates_in(target_type(kind).templatable, target, spots)
    if not templates:
        return target
    from app.templates.check import stood_in  # noqa: PLC0415 - few jobs need a template engine

    return stood_in(target, templates)


def is_unknown(spot: Spot) -> bool:
    """Whether the value depends on a named secret, so that its errors are those of a stand-in."""
    return spot.part is Part.WHOLE and isinstance(spot.value, str) and BEGINNING in spot.value


def holds_token(spot: Spot) -> bool:
    """Whether the value is a secret that no key has decrypted, see `is_token`."""
    match spot.part, spot.value:
        case Part.IN_URL, str() as url:
            return PREFIX in url and is_token(url_parts(url).password)
        case part, value:
            return part is Part.WHOLE and is_token(value)


async def check_bindings(
    db: Runner, targets: Sequence[Referring], *, stored_so: Collection[int] = ()
) -> Mapping[int, list[FieldError]]:
    """Refuse targets that would send a named secret to a host that it is not bound to.

    `stored_so`: the indexes of those that a job has already, which are not refused.
    Returns, by the index of the target, a warning for each secret that is not set.

    Raises:
        InvalidInput: naming the target by its index where there are several.
    """
    names = frozenset[str]().union(*(one.fields for one in targets))
    if not names:
        return {}
    known = await secrets.read_values(db, names)
    errors = [
        FieldError(field="target" if len(targets) == 1 else f"[{index}].target", message=message)
        for index, one in enumerate(targets)
        if index not in stored_so
        for name in sorted(one.fields.keys() & known.keys())
        if (message := binding_error(name, known[name].hosts, one.places))
    ]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return {
        index: missing for index, one in enumerate(targets) if (missing := unset(one.fields, known))
    }


async def find_unset(db: Runner, target: Referring) -> list[FieldError]:
    """Return a warning for each secret that a target refers to and that is not set."""
    fields = target.fields
    return unset(fields, await secrets.read_values(db, list(fields))) if fields else []


def unset(fields: Mapping[str, str], known: Collection[str]) -> list[FieldError]:
    """Say which of the secrets are not known, and what to do."""
    return [
        FieldError(
            field=field,
            message=f"refers to the secret {name!r}, which is not set: "
            f"set it with `tocsin secrets set {name}`, as runs fail until then",
        )
        for name, field in sorted(fields.items())
        if name not in known
    ]
