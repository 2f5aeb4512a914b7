"""The path below which a proxy shows the API, whether it passes that path on or takes it away."""

from typing import Any

from litestar.types import Message, Send

Scope = dict[str, Any]


def without_root(scope: Scope, root: str) -> Scope:
    """Return the scope of a request with the path that routes have."""
    path: str = scope["path"]
    if path != root and not path.startswith(f"{root}/"):
        return scope
    raw: bytes = scope.get("raw_path") or b""
    return {
        **scope,
        "path": path.removeprefix(root) or "/",
        "raw_path": raw.removeprefix(root.encode()) or b"/",
    }


def with_root(send: Send, root: str) -> Send:
    """Return a `send` that puts the path before addresses of ours that an answer leads to."""

    async def send_below(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, root.encode() + value)
                if name.lower() == b"location" and value.startswith(b"/")
                else (name, value)
                for name, value in message["headers"]
            ]
        await send(message)

    return send_below
