"""The addresses of the pages, and what they answer where they cannot show what was asked for."""

import msgspec
from litestar import Response, Router
from litestar.exceptions import HTTPException, ValidationException
from litestar.middleware import DefineMiddleware
from litestar.response import Redirect

from app.api.access import KeyAuthentication, require_scope
from app.api.problems import ApiRequest, app_problem, http_problem, unexpected_problem
from app.core.access.api_key import Scope
from app.errors import (
    AppError,
    KeyRequired,
    ScopeMissing,
    StatementCancelled,
)
from app.web.access import audit_page, keys_page
from app.web.alerts import alerts_page
from app.web.bulk import ask_bulk, bulk_form, bulk_list, bulk_page, cancel_bulk
from app.web.calendars import calendars_page
from app.web.coming import coming_page
from app.web.execution_actions import cancel_execution, cancel_page, replay_run
from app.web.executions import execution_page, executions_page
from app.web.flows import flows_page
from app.web.forms import came_from
from app.web.instances import instances_page
from app.web.job_actions import (
    delete_job,
    delete_page,
    pause_job,
    pause_page,
    resume_job,
    resume_page,
    run_job,
    skip_run,
    test_job,
    unskip_runs,
)
from app.web.job_editing import create_job, edit_page, new_job_page, preview_job, save_job
from app.web.jobs import job_page, jobs_page
from app.web.live import live, live_of_job
from app.web.live_tables import live_of_table
from app.web.once import once
from app.web.open_lists import live_of_list
from app.web.overview import overview
from app.web.rendering import page
from app.web.signing_in import sign_in, sign_in_first, sign_in_page, sign_out
from app.web.static_files import static_file


def pages() -> Router:
    """Return the routes of the pages: some for everybody, the others for who may read."""
    return Router(
        "/",
        route_handlers=[
            *(static_file, sign_in_page, sign_in, sign_out),
            Router(
                "/",
                route_handlers=[
                    *(
                        overview,
                        live,
                        live_of_job,
                        live_of_list,
                        live_of_table,
                        jobs_page,
                        job_page,
                        executions_page,
                        execution_page,
                        coming_page,
                    ),
                    *(flows_page, calendars_page, alerts_page, instances_page),
                    *(audit_page, keys_page),
                    *(run_job, test_job, skip_run, unskip_runs, pause_page, pause_job),
                    *(resume_page, resume_job, delete_page, delete_job),
                    *(new_job_page, create_job, preview_job, edit_page, save_job),
                    *(bulk_form, ask_bulk, bulk_list, bulk_page, cancel_bulk),
                    *(replay_run, cancel_page, cancel_execution),
                ],
                middleware=[DefineMiddleware(KeyAuthentication), once(app_page)],
                guards=[require_scope],
            ),
        ],
        include_in_schema=False,
        exception_handlers={
            AppError: app_page,
            HTTPException: http_page,
            Exception: unexpected_page,
        },
    )


def app_page(request: ApiRequest, error: AppError) -> Response[bytes] | Redirect:
    """Show one of Tocsin's own errors."""
    match error:
        case KeyRequired() if not is_of_script(request):
            return sign_in_first(request, error)
        case StatementCancelled():
            return trouble(
                request,
                status=503,
                title="That took too long",
                detail="Postgres was stopped after two seconds, so that looking costs others "
                "nothing. Narrow the search: a name, a tag, a state or a shorter time.",
            )
        case ScopeMissing(scope=Scope.WRITE):
            return trouble(
                request,
                status=403,
                title="Your key may only look",
                detail="To change something, sign out, and sign in with an API key of the scope "
                "write: `tocsin keys create NAME --scope write` makes one.",
            )
        case _:
            return problem_page(request, app_problem(request, error))


def is_of_script(request: ApiRequest) -> bool:
    """Return whether a script of a page asks, to which the page of signing in is of no use."""
    return "HX-Request" in request.headers or "text/event-stream" in request.headers.get(
        "Accept", ""
    )


def http_refusal(request: ApiRequest, error: HTTPException) -> Response[bytes]:
    """Answer for an address that no route has: browsers with a page, programs with a problem."""
    is_page = "text/html" in request.headers.get("Accept", "")
    if error.status_code == 404 and is_page and not request.url.path.startswith("/v1/"):  # noqa: PLR2004 - Not Found
        return http_page(request, error)
    return http_problem(request, error)


def http_page(request: ApiRequest, error: HTTPException) -> Response[bytes]:
    """Show a refusal of Litestar."""
    if isinstance(error, ValidationException):
        return problem_page(request, http_problem(request, error))
    if error.status_code == 404:  # noqa: PLR2004 - Not Found
        return trouble(
            request, status=404, title="Nothing is here", detail="No page has this address."
        )
    return problem_page(request, http_problem(request, error))


def unexpected_page(request: ApiRequest, error: Exception) -> Response[bytes]:
    """Show that there was a bug, which the log tells of."""
    return problem_page(request, unexpected_problem(request, error))


def problem_page(request: ApiRequest, problem: Response[bytes]) -> Response[bytes]:
    """Show what the API would answer, as a page."""
    told = msgspec.json.decode(problem.content)
    return trouble(
        request,
        status=told["status"],
        title=told["title"],
        detail=told["detail"],
        headers={
            name: problem.headers[name] for name in ("Retry-After",) if name in problem.headers
        },
    )


def trouble(
    request: ApiRequest,
    *,
    status: int,
    title: str,
    detail: str,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Answer with the page of an error."""
    return page(
        request,
        "trouble.html",
        status=status,
        headers=headers,
        title=title,
        detail=detail,
        back=came_from(request) if request.method == "POST" else "",
    )
