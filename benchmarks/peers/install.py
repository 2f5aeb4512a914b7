"""Install the peers into `benchmarks/.peers`, each group where its dependencies do not conflict."""

import subprocess
import sys
import venv

from benchmarks.support.processes import PEERS

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


if __name__ == "__main__":
    main()
