"""Answers that have a secret, which neither logs nor reports of errors are to have."""

from typing import Any, ClassVar

from msgspec import Struct

MASK = "***"


class Unshown(Struct, frozen=True, kw_only=True):
    """An answer that shows all of its fields but those that are secret."""

    unshown: ClassVar[tuple[str, ...]]

    def __repr__(self) -> str:
        """Show the mask in place of the secret: reports of errors have the locals of a function."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [
            (name, MASK if name in self.unshown else getattr(self, name))
            for name in self.__struct_fields__
        ]
