"""Trees of time zone files in which a zone has the rules of another."""

from pathlib import Path

from app.core.schedule.zone_rules import PACKAGE, choose_rules

VANCOUVER = "America/Vancouver"
ALWAYS_WEST_8 = {VANCOUVER: "Etc/GMT+8"}
ALWAYS_WEST_7 = {VANCOUVER: "Etc/GMT+7"}


def zone_tree(directory: Path, version: str, zones: dict[str, str]) -> Path:
    """Write a tree of that version, in which each zone has the rules of the other."""
    for name, other in zones.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = choose_rules(PACKAGE).read(other)
        assert content is not None
        path.write_bytes(content)
    (directory / "tzdata.zi").write_text(f"# version {version}\nL a b\n")
    return directory
