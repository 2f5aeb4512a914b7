"""Packages as an installer leaves them: modules, and a folder that says what they are."""

from pathlib import Path


def install(
    place: Path, name: str, *, modules: dict[str, str], entry_points: dict[str, str]
) -> None:
    """Put a package of these modules into a folder, which is to be on `sys.path`.

    The entry points are of the group `tocsin.executors`.
    """
    for module, source in modules.items():
        (place / f"{module}.py").write_text(source, "utf-8")
    described = place / f"{name}-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{kind} = {where}" for kind, where in entry_points.items()]
    (described / "entry_points.txt").write_text("\n".join(["[tocsin.executors]", *lines, ""]))
