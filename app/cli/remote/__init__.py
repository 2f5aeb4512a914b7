"""The commands that use the API, and nothing else of Tocsin: they import neither it nor asyncpg."""
