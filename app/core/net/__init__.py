"""Addresses, URLs, headers, and which targets may be reached."""
