"""What makes the clients in TypeScript and Go: npm packages and a generator, kept in .cache.

`python -m tests.support.clients` installs both before the tests do, which need no network then.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from hashlib import sha256
from os import environ
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
CACHE = ROOT / ".cache" / "clients"
GO_PACKAGES = ("github.com/google/uuid", "github.com/oapi-codegen/runtime")
STEP_SECONDS = 300.0


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command and return what it prints.

    Raises:
        AssertionError: it failed; has what it printed.
    """
    done = subprocess.run(  # noqa: S603 - commands of ours
        [str(part) for part in command],
        cwd=cwd,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment() -> dict[str, str]:
    beside = Path(sys.executable).parent
    return {
        **environ,
        "PATH": f"{beside}:{environ.get('PATH', '')}",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
    }


def once(name: str, *by: Path, make: Callable[[Path], None]) -> Path:
    """Return the directory that `make` fills, of what these files say, made if it is not there.

    Processes of tests that want it at the same time wait for the first.
    """
    digest = sha256(b"\0".join(one.read_bytes() for one in by)).hexdigest()[:16]
    place = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (place / ".complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / ".complete").touch()
    return place


def node_modules() -> Path:
    """Install what package-lock.json of the TypeScript client names; no package runs a script."""
    source = CLIENTS / "typescript"
    names = ("package.json", "package-lock.json", ".npmrc")

    def make(place: Path) -> None:
        for name in names:
            shutil.copy(source / name, place)
        run("npm", "ci", "--ignore-scripts", cwd=place)

    place = once("npm", *(source / name for name in names), make=make)
    return place / "node_modules"


def oapi_codegen() -> Path:
    """Build the generator that tools/go.mod of the Go client pins."""
    tools = CLIENTS / "go" / "tools"

    def make(place: Path) -> None:
        package = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"
        run("go", "build", "-o", place / "oapi-codegen", package, cwd=tools)

    place = once("oapi-codegen", tools / "go.mod", tools / "go.sum", make=make)
    return place / "oapi-codegen"


def go_packages() -> None:
    """Fetch, and compile, what go.mod of the Go client names."""
    run("go", "build", *GO_PACKAGES, cwd=CLIENTS / "go")


if __name__ == "__main__":
    node_modules()
    oapi_codegen()
    go_packages()
