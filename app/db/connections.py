"""How many connections to Postgres processes need at most: what a pooler or a role has to allow."""

POOL = 10
"""The most connections in the pool of an API process, or in the pools with which an instance
settles, extends leases and does what no job waits for."""
LISTENING = 1
UPKEEP = 1
"""The session of the hourly upkeep, and of a step that ran late."""
ISOLATING_QUICKLY = 3
"""Statements about single rows at once, each for a moment, while jobs are isolated."""
ISOLATING_PATIENTLY = 1

APART = 16
"""Those with which an instance plans and checks (6), and those for settlements (6) and leases (4)
that are written apart from others."""

OF_INSTANCE = POOL + LISTENING + UPKEEP + ISOLATING_QUICKLY + ISOLATING_PATIENTLY + APART
OF_API = POOL
NEEDED = f"{OF_INSTANCE} connections for each instance and {OF_API} for each API process"
