"""docs/llms.txt as the API serves it: `make llms` writes it anew."""

from pathlib import Path

from app.api.llms import llms_text
from app.api.openapi import description
from app.asgi import create_app
from app.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "llms.txt"


def written() -> str:
    """Make the page."""
    app = create_app(Settings(database_url="postgresql://nowhere/none"))
    return llms_text(description(app))


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
