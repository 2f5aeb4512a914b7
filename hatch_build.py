"""Takes what the dashboard loads in browsers out of npm packages, when Tocsin is built.

Hatchling calls `VendorHook`; `python hatch_build.py` does the same by hand. npm checks each package
against its SHA-512 in package-lock.json and runs no script of a package. Without npm the build goes
on: pages then work without their live parts.
"""

import json
import shutil
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256, sha384
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
VENDOR = ROOT / "app" / "web" / "static" / "vendor"
RECORD = "vendor.json"
FILES = {"htmx.js": ("htmx.org", ("dist/htmx.min.js", "dist/ext/hx-sse.min.js"))}
"""The files to make, each of an npm package and of places in that.

htmx and its extension are one file: deferred scripts begin as they arrive, and htmx looks at a page
once, perhaps before an extension that arrives later is there.
"""
NPM_SECONDS = 120.0


class VendorHook(BuildHookInterface[Any]):
    """Takes the files before they are packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Take the files, or say why not."""
        self.app.display_info(vendor())


def vendor() -> str:
    """Take the files if those that are there are of another package-lock.json; say what was done.

    A source distribution brings the files along: without npm they stay.
    """
    lock = sha256((ROOT / "package-lock.json").read_bytes()).hexdigest()
    if has(lock):
        return "The files of the dashboard from npm are there."
    if (ROOT / "node_modules").is_dir():  # of `npm ci` by hand, as in the Dockerfile
        copy_from(ROOT / "node_modules", lock=lock)
        return "The files of the dashboard were taken from node_modules."
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed: the dashboard works without its live parts."
    with TemporaryDirectory() as directory:
        place = Path(directory)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, place)
        try:
            subprocess.run(  # noqa: S603 - npm, with arguments of ours
                [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=place,
                check=True,
                capture_output=True,
                timeout=NPM_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"npm failed, so the dashboard works without its live parts: {error}"
        copy_from(place / "node_modules", lock=lock)
    return "The files of the dashboard were taken from npm."


def has(lock: str) -> bool:
    """Return whether all files are there, taken by the package-lock.json with this SHA-256."""
    try:
        record = json.loads((VENDOR / RECORD).read_text("utf-8"))
        return bool(record["lock"] == lock) and all((VENDOR / name).exists() for name in FILES)
    except (OSError, ValueError, KeyError):
        return False


def copy_from(modules: Path, *, lock: str) -> None:
    """Copy the files out of `node_modules`, and record what they are."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"lock": lock, "files": {}}
    for name, (package, paths) in FILES.items():
        content = b"\n".join((modules / package / path).read_bytes() for path in paths)
        about = json.loads((modules / package / "package.json").read_text("utf-8"))
        (VENDOR / name).write_bytes(content)
        record["files"][name] = {
            "package": package,
            "version": about["version"],
            "license": about["license"],
            "integrity": f"sha384-{b64encode(sha384(content).digest()).decode()}",
        }
    (VENDOR / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.stdout.write(vendor() + "\n")
