"""Pings of checks: what their addresses say."""
