"""Install the peers into `benchmarks/.peers`, each group where its dependencies do not conflict."""

import shutil
import subprocess
import sys
import venv

from benchmarks.support.processes import PEERS, ROOT

COMMON = ["aiohttp>=3.14,<4", "asyncpg>=0.31", "psycopg[binary,pool]>=3.2", "uvloop>=0.22"]
ENVIRONMENTS = {
    "py": [
        "procrastinate>=3.10,<4",
        "pgqueuer>=1.6,<2",
        "apscheduler>=3.11,<4",
        "sqlalchemy>=2,<3",
    ],
}
NODE = ["graphile-worker@^0.17", "pg-boss", "undici@^7"]
RIVER = "v0.51.2"
GO = [
    f"github.com/riverqueue/river@{RIVER}",
    f"github.com/riverqueue/river/riverdriver/riverpgxv5@{RIVER}",
]


def main() -> None:
    """Make the environments, or bring them up to date."""
    for name, packages in ENVIRONMENTS.items():
        print(f"{name}: {', '.join(packages)}")
        venv.create(PEERS / name, with_pip=True)
        python = PEERS / name / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", *COMMON, *packages], check=True)
    node = PEERS / "node"
    node.mkdir(parents=True, exist_ok=True)
    (node / "package.json").write_text('{"private": true}\n')
    try:
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", *NODE], check=True, cwd=node)
    except FileNotFoundError:
        sys.exit("npm was not found: graphile-worker and pg-boss cannot be measured")
    build_river()


def build_river() -> None:
    """Build River's worker, where there is a Go compiler."""
    if shutil.which("go") is None:
        print("go was not found: River cannot be measured")
        return
    go = PEERS / "go"
    shutil.rmtree(go, ignore_errors=True)
    go.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks" / "peers" / "go" / "river.go", go)
    for command in (
        ["go", "mod", "init", "tocsin-benchmarks"],
        ["go", "get", *GO],
        ["go", "mod", "tidy"],
        ["go", "build", "-o", "river", "."],
    ):
        subprocess.run(command, check=True, cwd=go)


if __name__ == "__main__":
    main()
