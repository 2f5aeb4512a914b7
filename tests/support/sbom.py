"""The list of what a release consists of, as CycloneDX: `make sbom` writes it into dist.

It has what the image of the Dockerfile installs, `tocsin[otel]` with all that this needs, in the
versions and with the hashes that are pinned; and what the wheel has from npm.
"""

import json
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.releases import ROOT, project_version

INSTALLED = "tocsin[otel]"
PIN = re.compile(r"^([a-z0-9.-]+)==[^\n]*(?:\n    --hash=[^\n]*)*", re.MULTILINE)


def needed(installed: str = INSTALLED) -> set[str]:
    """Name all packages that one needs on this platform, however far."""
    found: set[str] = set()
    waiting = [Requirement(installed)]
    while waiting:
        one = waiting.pop()
        for below in map(Requirement, requires(one.name) or ()):
            extras = one.extras or {""}
            name = canonicalize_name(below.name)
            wanted = below.marker is None or any(
                below.marker.evaluate({"extra": extra}) for extra in extras
            )
            if wanted and (name not in found or below.extras):
                found.add(name)
                waiting.append(below)
    return found


def pinned(names: set[str]) -> Iterator[str]:
    """Yield the lines that pin packages, with their hashes, in their order."""
    for pin in PIN.finditer((ROOT / "constraints.txt").read_text("utf-8")):
        if pin[1] in names:
            yield pin[0]


def from_npm() -> Iterator[dict[str, Any]]:
    """Yield what browsers load: the packages of package-lock.json, each with its SHA-512."""
    lock = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
    for place, package in lock["packages"].items():
        if not place:  # what asks for them
            continue
        name, version = place.removeprefix("node_modules/"), package["version"]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        algorithm, _, digest = package["integrity"].partition("-")
        assert algorithm == "sha512"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "hashes": [{"alg": "SHA-512", "content": b64decode(digest).hex()}],
            "licenses": [{"expression": package["license"]}],
        }


def sbom() -> str:
    """Return the list as JSON."""
    done = subprocess.run(  # noqa: S603 - our own Python
        [
            *(sys.executable, "-m", "cyclonedx_py", "requirements"),
            *("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"),
            *("--output-reproducible", "--output-format", "JSON", "-"),
        ],
        input="\n".join(pinned(needed())),
        capture_output=True,
        check=True,
        text=True,
    )
    listed = json.loads(done.stdout)
    listed["components"] += from_npm()
    listed.setdefault("dependencies", []).extend({"ref": one["bom-ref"]} for one in from_npm())
    return json.dumps(listed, indent=2)


def main() -> None:
    target = Path("dist") / f"tocsin-{project_version()}.cdx.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(sbom(), "utf-8")
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
