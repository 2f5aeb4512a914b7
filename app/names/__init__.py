"""Addresses of names, for everything in this process that connects to one."""

from app.names.forms import is_address
from app.names.resolver import NameFailed, Resolver

__all__ = ["NameFailed", "Resolver", "is_address"]
