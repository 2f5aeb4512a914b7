"""Addresses of names, for everything in this process that connects to one."""

from app.names.resolver import NameFailed, Resolver, is_address

__all__ = ["NameFailed", "Resolver", "is_address"]
