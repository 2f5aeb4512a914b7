"""Ways to authenticate outgoing requests: each module here that has an `AUTH` is one.

A new one is a file with a subclass of `Auth`; validation, masking and the API's schema follow.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Union

from msgspec.structs import StructConfig

from app.targets.auth.base import Auth, AuthFailed, Outgoing

__all__ = ["AUTH_TYPES", "AnyAuth", "AuthFailed", "Outgoing"]


def tag_of(auth: type[Auth]) -> str:
    config: StructConfig = auth.__struct_config__
    return str(config.tag)


MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

AUTH_TYPES: dict[str, type[Auth]] = {
    tag_of(module.AUTH): module.AUTH for module in MODULES if hasattr(module, "AUTH")
}
"""Every way by the `type` that names it."""

if TYPE_CHECKING:
    AnyAuth = Auth
else:
    AnyAuth = Union[tuple(AUTH_TYPES.values())]  # noqa: UP007 - made from what was found
