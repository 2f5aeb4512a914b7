"""`tocsin mcp`: the API as tools of the Model Context Protocol, over stdin and stdout."""

import asyncio
import json
from contextlib import closing
from threading import Lock
from typing import Any

import click

from app.cli.remote import contexts
from app.cli.remote.api import Api
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.options import PLACE, YES
from app.cli.remote.showing import all_of
from app.cli.remote.tools import READ, WRITE, Tool, tools_of

INSTRUCTIONS = (
    "Tocsin calls HTTP and other targets at set times, from jobs. Instants are RFC 3339, durations "
    "seconds. Preview a schedule before you create a job; the outlook in the answer has the next "
    "runs, the schedule in words and whether an instance can carry it out. explainJob says why one "
    "has not run. Errors name the field and the remedy. dry_run answers as if it were done. Give a "
    "call that you may send again an idempotency_key: it is done once. The etag of a job, given as "
    "if_match, lets an edit through only if nobody edited the job since."
)


@click.command("mcp")
@click.option("--write", is_flag=True, help="Have tools that change jobs, too, if the key may.")
@all_of((*PLACE, YES))
def serve_tools(*, write: bool, api_url: str | None, context_name: str | None, yes: bool) -> None:
    """Serve the API to an agent, by the Model Context Protocol on stdin and stdout.

    Without --write there is nothing that changes anything, whatever the key may do.
    """
    try:
        from mcp.server.stdio import stdio_server
    except ImportError as error:
        message = "the library for agents is missing: install the extra, as in `tocsin[mcp]`"
        raise CommandFailed(message) from error
    context = contexts.chosen(context_name, api_url)
    if write:
        contexts.confirm(context, "let an agent change jobs", yes=yes)
    with closing(Api(context.url, context.key)) as api:
        document = api.call("GET", "/openapi.json")
        allowed = set(api.call("GET", "/session")["scopes"]) & {READ, WRITE if write else READ}
        if write and WRITE not in allowed:
            message = "--write needs a key with the scope write: this one may only read"
            raise CommandFailed(message, exit_code=USAGE)
        server = server_of(api, document, tools_of(document, allowed))

        async def serve() -> None:
            async with stdio_server() as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())

        asyncio.run(serve())


def server_of(api: Api, document: dict[str, Any], tools: list[Tool]) -> Any:  # noqa: ANN401 - of the optional library
    """Make the server of these tools."""
    from mcp.server import Server
    from mcp.types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        PaginatedRequestParams,
        TextContent,
        ToolAnnotations,
    )
    from mcp.types import Tool as Described

    schemas = document["components"]["schemas"]
    by_name = {one.name: one for one in tools}
    listed = [
        Described(
            name=one.name,
            description=one.description,
            input_schema=one.input_schema(schemas),
            annotations=ToolAnnotations(
                title=one.operation["summary"],
                read_only_hint=one.scope == READ,
                destructive_hint=one.is_destructive,
                idempotent_hint=one.is_idempotent or one.scope == READ,
                open_world_hint=one.scope != READ,
            ),
        )
        for one in tools
    ]
    connection = Lock()

    def call_alone(tool: Tool, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - what the API answers
        # Held until the answer is there, even if the agent no longer waits: the next one would get
        # it. And a connection that is kept is closed by the API before an agent asks again.
        with connection, closing(api):
            return tool.call(api, arguments)

    async def list_tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:  # noqa: ANN401
        return ListToolsResult(tools=listed)

    async def call_tool(_: Any, asked: CallToolRequestParams) -> CallToolResult:  # noqa: ANN401
        def said(text: str, *, is_error: bool = False, **more: Any) -> CallToolResult:  # noqa: ANN401
            content = [TextContent(type="text", text=text)]
            return CallToolResult(content=list(content), is_error=is_error, **more)

        if asked.name not in by_name:
            return said(f"there is no tool {asked.name!r} for this key", is_error=True)
        try:
            answer = await asyncio.to_thread(call_alone, by_name[asked.name], asked.arguments or {})
        except CommandFailed as error:
            return said(json.dumps(error.problem) if error.problem else str(error), is_error=True)
        except KeyError as error:
            return said(f"the argument {error} is missing", is_error=True)
        except ValueError as error:
            return said(str(error), is_error=True)
        if answer is None:
            return said("done")
        return said(json.dumps(answer, ensure_ascii=False), structured_content=answer)

    return Server(
        "tocsin",
        version=document["info"]["version"],
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
