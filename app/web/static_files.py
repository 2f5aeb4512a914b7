"""Style sheet, scripts and icon of the pages, under addresses that change with their content."""

import gzip
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from app.api.problems import ApiRequest

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FOR_EVER = "public, max-age=31536000, immutable"
NOT_AT_ALL = "no-store"
LIVE = "vendor/htmx.js"
"""What live parts of pages need, which comes from npm when Tocsin is built."""


class Asset(Struct, frozen=True):
    """A file as it is served."""

    content: bytes
    compressed: bytes
    media_type: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Read all files, by their path below `static`."""
    return {path: asset(path, file) for path, file in found(files("app").joinpath("web", "static"))}


def found(directory: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    """List the files of a directory that have one of `TYPES`."""
    listed: list[tuple[str, Traversable]] = []
    for one in sorted(directory.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            listed += found(one, f"{prefix}{one.name}/")
        elif one.name.rpartition(".")[2] in TYPES:
            listed.append((f"{prefix}{one.name}", one))
    return listed


def asset(path: str, file: Traversable) -> Asset:
    """Read and compress a file."""
    content = file.read_bytes()
    return Asset(content, gzip.compress(content, mtime=0), TYPES[path.rpartition(".")[2]])


@lru_cache(maxsize=1)
def digest() -> str:
    """Return a digest of all files together, which is a part of their addresses."""
    every = sha256()
    for path, one in sorted(assets().items()):
        every.update(path.encode() + b"\0" + sha256(one.content).digest())
    return every.hexdigest()[:16]


def has_live_parts() -> bool:
    """Return whether the file from npm is there."""
    return LIVE in assets()


@get("/static/{version:str}/{path:path}")
async def static_file(
    request: ApiRequest, version: FromPath[str], path: FromPath[str]
) -> Response[bytes]:
    """Serve a file; with the digest of these files for ever.

    While a new version is rolled out a page of one process loads its files from another one. These
    are the best that there are, and they are not kept.
    """
    one = assets().get(path.removeprefix("/"))
    if one is None:
        raise NotFoundException
    squeezed = "gzip" in request.headers.get("Accept-Encoding", "")
    return Response(
        one.compressed if squeezed else one.content,
        media_type=one.media_type,
        headers={
            "Cache-Control": FOR_EVER if version == digest() else NOT_AT_ALL,
            "Vary": "Accept-Encoding",
            **({"Content-Encoding": "gzip"} if squeezed else {}),
        },
    )
