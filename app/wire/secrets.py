"""Named secrets as they are set and listed."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from app.core.net.egress import MAX_HOST_LENGTH
from app.core.secrets.bindings import MAX_HOSTS
from app.core.secrets.masking import SECRET, Masked
from app.core.secrets.references import MAX_VALUE_LENGTH
from app.wire.pages import Page


class NamedSecret(Struct, frozen=True, kw_only=True):
    """A named secret as clients see it: without its value, which only targets get."""

    name: str
    hosts: Annotated[list[str], Meta(description="Where it may be sent; none: anywhere.")]
    created_at: datetime
    updated_at: datetime
    """When the value was last set."""


class SecretValue(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to keep."""

    value: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_VALUE_LENGTH,
            description="Stored encrypted, and never told again.",
        ),
        SECRET,
    ]
    hosts: (
        Annotated[
            list[Annotated[str, Meta(max_length=MAX_HOST_LENGTH)]],
            Meta(
                max_length=MAX_HOSTS,
                description="Where it may be sent, such as api.example.com, *.example.com and "
                "https://api.example.com:8443. "
                "None: anywhere. Left out: as before, and a new secret may be sent anywhere.",
            ),
        ]
        | UnsetType
    ) = UNSET


class SecretPage(Page[NamedSecret], frozen=True, kw_only=True):
    """Secrets, by name."""
