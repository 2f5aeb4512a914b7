"""Addresses, URLs and headers of targets, which targets may be called, and clients of the API."""
