"""The fields that the API answers with, by which `--json` and `--columns` are judged.

They are here so that a command is refused before it changes anything, and without a request.
"""

from collections.abc import Sequence

from app.cli.remote.errors import USAGE, CommandFailed

FIELDS = {
    "Job": (
        "id name description tags metadata kind target run_at cron timezone every_seconds "
        "dst_gap dst_overlap starts_at ends_at max_runs max_attempts backoff_seconds "
        "backoff_max_seconds timeout_seconds misfire misfire_grace_seconds max_catchup "
        "overlap flow_key jitter_seconds jitter_percent priority calendars on_closed "
        "min_gap_seconds paused state next_run scheduled_for plan_error last_outcome "
        "last_finished_at consecutive_failures runs pause skip_runs skip_until created_at "
        "failing execution_id updated_at missed outlook effect warnings set"
    ),
    "Bulk": (
        "id action filter options state expected matched changed unchanged failed problems "
        "error asked_at asked_by started_at ended_at cancelled_at instance"
    ),
    "Execution": (
        "id job_id job_name tags fence kind scheduled_for attempt outcome reason started_at "
        "finished_at instance status_code response error missed_runs missed_until lag_seconds "
        "duration_seconds"
    ),
    "TestedTarget": ("outcome reason error status_code duration_seconds response idempotency_key"),
    "Explanation": "state summary next_run reasons",
    "SetPlan": "set digest differs counts steps warnings",
    "SetState": "name applied_at applied_by created_at jobs others removed",
    "SetMembers": "name applied_at applied_by created_at jobs others removed members",
    "SetMember": "kind name removed_at",
    "Maintenance": (
        "id tag calendar starts_at ends_at on_closed reason is_under_way next created_at created_by"
    ),
    "Pause": "id tag reason until paused_at paused_by",
    "Check": "job_id name status expected_at has_token token_made_at started_at ended_at",
    "CheckAddress": "token path",
    "PreviewedSchedule": "description runs",
    "PreviewedRun": "at skipped local effective_at closed_until",
    "UpcomingRun": "at scheduled_for job_id job_name skipped closed_until",
    "Flow": (
        "flow_key max_concurrency rate period_seconds burst paused paused_at pause_reason "
        "paused_until paused_by held_until held_for executing waiting created_at updated_at"
    ),
    "ToldAlert": (
        "id at rule event of_event is_reminder job_id job many since execution_id why channel "
        "instead_of delivery delivery_id delivered_at failed_at error"
    ),
    "AlertRule": (
        "name events job tag after seconds factor more_than remind_seconds reasons channels "
        "told_jobs created_at updated_at"
    ),
    "Channel": "name preset target fallback failed last_failed_at last_error created_at updated_at",
    "Calendar": (
        "description timezone dates weekly holidays rrules ical name error is_worked_out "
        "times jobs created_at updated_at"
    ),
    "ApiKey": (
        "id name prefix scopes created_at expires_at last_used_at revoked_at max_jobs "
        "min_interval_seconds allowed_hosts default_ends_in_seconds"
    ),
    "NamedSecret": "name hosts created_at updated_at",
}
"""By the name of what is answered, in the description of the API; with spaces between."""
LOCAL_FIELDS = {
    "SavedContext": "name url production current",
    "Finding": "subject found remedy grave",
}
"""The same of what commands print without the API."""


def check_fields(asked: Sequence[str], shown: str) -> None:
    """Refuse a field that what is shown does not have; of `a.b` only `a` is judged.

    Raises:
        CommandFailed: there is no such field.
    """
    there = (FIELDS | LOCAL_FIELDS)[shown].split()
    for name in asked:
        if name.partition(".")[0] not in there:
            message = f"there is no field {name}: there are {', '.join(sorted(there))}"
            raise CommandFailed(message, exit_code=USAGE)
