"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "handbook"
PAGES = BUILD / "pages"
"""The pages as they are built, at the paths that they have in the repository."""
SITE = BUILD / "site"
