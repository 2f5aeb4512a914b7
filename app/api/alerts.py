"""Alerts: what was told, the rules that tell, and the channels that are told."""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post, put
from litestar.params import PathParameter, QueryParameter

from app.api.body import decode_action, decode_body
from app.api.parameters import Cursor, Db, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import alert_rules as stored
from app.db import jobs
from app.db.alert_rules import AlertFilter
from app.jobs import alerts
from app.wire.actions import NoFields
from app.wire.alerts import (
    AlertPage,
    AlertRule,
    AlertRulePage,
    Channel,
    ChannelDocument,
    ChannelPage,
    RuleDocument,
    ToldAlert,
)
from app.wire.pages import ALERT_RULES, ALERTS

AlertId = Annotated[UUID, PathParameter(description="The id of an alert.")]
RuleName = Annotated[str, PathParameter(description="The name of an alert rule.")]
ChannelName = Annotated[str, PathParameter(description="The name of a channel.")]
OfJob = Annotated[
    str | None, QueryParameter(name="job", description="The id or the name of a job: only of that.")
]
OfRule = Annotated[
    str | None, QueryParameter(name="rule", description="The name of a rule: only by that.")
]


@get(
    "/",
    operation_id="listAlerts",
    summary="List what was told",
    opt={"scope": Scope.READ, "problems": (404, 422)},
)
async def list_alerts(
    db: Db,
    limit: Limit = 50,
    cursor: Cursor = None,
    of_job: OfJob = None,
    of_rule: OfRule = None,
) -> AlertPage:
    """Newest first: of which job, why, by which channel, and whether it arrived."""
    job_id = None if of_job is None else (await jobs.find(db, of_job)).id
    rule = None if of_rule is None else of_rule.replace("\0", "")
    page = await stored.list_alerts(
        db, AlertFilter(job_id=job_id, rule=rule), before=ALERTS.read(cursor), limit=limit
    )
    return AlertPage(items=page.items, next_cursor=ALERTS.after(page.items, more=page.more))


@get(
    "/{id:uuid}",
    operation_id="getAlert",
    summary="Read an alert",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_alert(db: Db, id: AlertId) -> ToldAlert:
    """How it was delivered: `GET /v1/jobs/{delivery_id}/executions`."""
    return await stored.find_alert(db, id)


@put(
    "/rules/{rule:str}",
    operation_id="putAlertRule",
    summary="Set an alert rule",
    opt={
        "scope": Scope.WRITE,
        "body": RuleDocument,
        "also": (201,),
        "problems": (400, 409, 413, 415, 422),
    },
)
async def put_rule(request: ApiRequest, db: Db, rule: RuleName) -> Response[AlertRule]:
    """It tells of what ends from now on. A rule that watches for something else begins anew."""
    document = await decode_body(request, RuleDocument)
    made, is_new = await alerts.put_rule(db, rule, document)
    return Response(made, status_code=201 if is_new else 200)


@get(
    "/rules",
    operation_id="listAlertRules",
    summary="List alert rules",
    opt={"scope": Scope.READ, "problems": (422,)},
)
async def list_rules(db: Db, limit: Limit = 50, cursor: Cursor = None) -> AlertRulePage:
    """By name, each with the number of jobs of which it has told something that is not over."""
    page = await stored.list_page(db, after=ALERT_RULES.read(cursor), limit=limit)
    return AlertRulePage(
        items=page.items, next_cursor=ALERT_RULES.after(page.items, more=page.more)
    )


@get(
    "/rules/{rule:str}",
    operation_id="getAlertRule",
    summary="Read an alert rule",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_rule(db: Db, rule: RuleName) -> AlertRule:
    """As it was last set."""
    return await stored.find(db, rule)


@delete(
    "/rules/{rule:str}",
    operation_id="deleteAlertRule",
    summary="Delete an alert rule",
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def delete_rule(db: Db, rule: RuleName) -> None:
    """What it has told stays on record."""
    await stored.delete(db, rule)


@put(
    "/channels/{channel:str}",
    operation_id="putAlertChannel",
    summary="Set a channel",
    opt={
        "scope": Scope.WRITE,
        "body": ChannelDocument,
        "also": (201,),
        "problems": (400, 409, 413, 415, 422),
    },
)
async def put_channel(request: ApiRequest, db: Db, channel: ChannelName) -> Response[Channel]:
    """Each message is delivered by an `http` job, with retries and history."""
    document = await decode_body(request, ChannelDocument)
    made, is_new = await alerts.put_channel(db, channel, document)
    return Response(made, status_code=201 if is_new else 200)


@get(
    "/channels",
    operation_id="listAlertChannels",
    summary="List channels",
    opt={"scope": Scope.READ, "problems": (422,)},
)
async def list_channels(db: Db, limit: Limit = 50, cursor: Cursor = None) -> ChannelPage:
    """By name."""
    page = await stored.list_channels(db, after=ALERT_RULES.read(cursor), limit=limit)
    return ChannelPage(
        items=[alerts.shown(one) for one in page.items],
        next_cursor=ALERT_RULES.after(page.items, more=page.more),
    )


@get(
    "/channels/{channel:str}",
    operation_id="getAlertChannel",
    summary="Read a channel",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_channel(db: Db, channel: ChannelName) -> Channel:
    """A secret that was written in SQL reads `***`."""
    return alerts.shown(await stored.find_channel(db, channel))


@delete(
    "/channels/{channel:str}",
    operation_id="deleteAlertChannel",
    summary="Delete a channel",
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def delete_channel(db: Db, channel: ChannelName) -> None:
    """One that a rule names stays."""
    await alerts.delete_channel(db, channel)


@post(
    "/channels/{channel:str}/test",
    operation_id="testAlertChannel",
    summary="Have a channel told something, to see whether that arrives",
    status_code=202,
    opt={
        "scope": Scope.WRITE,
        "body": NoFields,
        "body_may_be_left_out": True,
        "problems": (400, 404, 413, 415, 422),
    },
)
async def test_channel(request: ApiRequest, db: Db, channel: ChannelName) -> ToldAlert:
    """Read the alert again to see its `delivery`."""
    await decode_action(request, NoFields)
    return await stored.test_channel(db, channel)
