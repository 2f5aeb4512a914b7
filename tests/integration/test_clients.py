"""The clients in TypeScript and Go, made of the API's document and tried on a running API."""

import asyncio
import re
import shutil
from pathlib import Path

import httpx
import pytest

from tests.support.clients import CLIENTS, node_modules, oapi_codegen, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLE_SAYS = [r"nightly-report .*next at", "nightly-report scheduled", r"timezone .*Europe/Paris"]


@pytest.fixture
async def key(served: str) -> str:
    """Make a key, so that each request needs it."""
    async with httpx.AsyncClient(base_url=served) as client:
        made = await client.post("/v1/keys", json={"name": "clients", "scopes": ["write"]})
    return str(made.json()["key"])


def copy_of(language: str, place: Path) -> Path:
    """Copy the files of a client that people wrote."""
    made = shutil.ignore_patterns("node_modules", "dist", "*.gen.go", "openapi.json", "schema.ts")
    return Path(shutil.copytree(CLIENTS / language, place / language, ignore=made))


def example_of(language: str, fence: str) -> str:
    [block] = re.findall(
        rf"^```{fence}\n(.*?)^```",
        (CLIENTS / language / "README.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    return str(block)


async def document(served: str) -> bytes:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{served}/openapi.json")).content


def said_by_example(printed: str) -> None:
    for one, line in zip(EXAMPLE_SAYS, printed.splitlines(), strict=True):
        assert re.search(one, line), printed


async def test_typescript(served: str, key: str, tmp_path: Path) -> None:
    place = copy_of("typescript", tmp_path)
    (place / "openapi.json").write_bytes(await document(served))
    (place / "test" / "example.ts").write_text(
        example_of("typescript", "ts").replace('"tocsin-client"', '"../src/index.js"'), "utf-8"
    )

    def make_and_run() -> tuple[str, str]:
        (place / "node_modules").symlink_to(node_modules())
        run("npm", "run", "schema", cwd=place)
        run("npm", "run", "build", cwd=place)
        of_api = {"TOCSIN_URL": served, "TOCSIN_API_KEY": key}
        tested = run(
            *("node", "--test", "--test-reporter=tap", "dist/test/client.test.js"),
            cwd=place,
            **of_api,
        )
        return tested, run("node", "dist/test/example.js", cwd=place, **of_api)

    tested, printed = await asyncio.to_thread(make_and_run)

    assert re.search(r"^# pass 11$", tested, re.MULTILINE), tested
    said_by_example(printed)
    schema = (place / "src" / "schema.ts").read_text("utf-8")
    assert re.findall(r"(\w+)\??: Record<string, never>", schema) == ["NoFields"]


async def test_go(served: str, key: str, tmp_path: Path) -> None:
    place = copy_of("go", tmp_path)
    (place / "openapi.json").write_bytes(await document(served))
    example = place / "example"
    example.mkdir()
    (example / "main.go").write_text(example_of("go", "go"), "utf-8")

    def make_and_run() -> tuple[str, str]:
        run(oapi_codegen(), "-config", "oapi-codegen.yaml", "openapi.json", cwd=place)
        of_api = {"TOCSIN_URL": served, "TOCSIN_API_KEY": key}
        tested = run("go", "test", "-v", "-vet=off", ".", cwd=place, **of_api)
        return tested, run("go", "run", "./example", cwd=place, **of_api)

    tested, printed = await asyncio.to_thread(make_and_run)

    assert tested.count("--- PASS") == 8, tested
    said_by_example(printed)
