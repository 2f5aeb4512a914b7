"""Every test may use the fixtures of these modules."""

from pathlib import Path

SUPPORT = Path(__file__).with_name("support")

pytest_plugins = [
    f"tests.support.{name}"
    for name in ("postgres", "rabbit", "sink", "canary", "instances", "api")
    if (SUPPORT / f"{name}.py").exists()
]
