"""The version of Tocsin, for those who look at it from outside."""

from importlib.metadata import PackageNotFoundError, version


def product_version() -> str:
    """Return the installed version; "0" for a source tree that is not installed."""
    try:
        return version("tocsin")
    except PackageNotFoundError:
        return "0"
