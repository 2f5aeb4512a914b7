"""Finds secrets that are written out where they may stand by name only."""

from typing import Any

from app.core.secrets.masking import is_masked, mask
from app.core.secrets.places import Part, spots_in
from app.core.secrets.references import is_reference
from app.errors import FieldError
from app.targets.registry import target_type

MESSAGE = "is a secret: store it under a name, and write ${secret:NAME}"


def inline_secrets(
    kind: str, target: dict[str, Any], *, may_be_masked: bool = False
) -> list[FieldError]:
    """Name the secrets that are written out; `may_be_masked`: `***` is none of them."""
    type_ = target_type(kind)
    masked = mask(type_, target)
    return [
        FieldError(field=spot.field, message=MESSAGE)
        for spot in spots_in(type_, target)
        if spot.value is not None
        and not (may_be_masked and is_masked(spot.part, spot.value))
        and (
            (spot.part is Part.WHOLE and not is_reference(spot.value))
            or (spot.part is Part.IN_URL and masked.get("url") != target.get("url"))
        )
    ]
