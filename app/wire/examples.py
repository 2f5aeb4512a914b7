"""Bodies to start from, as the description of the API and refusals of other bodies show them."""

import json
from typing import Any

HTTP_TARGET = {
    "url": "https://example.com/report",
    "method": "POST",
    "json": {"full": True},
    "auth": {"type": "bearer", "token": "a-token"},
}
NIGHTLY = {
    "name": "nightly-report",
    "kind": "http",
    "target": HTTP_TARGET,
    "cron": "0 3 * * *",
    "timezone": "Europe/Paris",
    "tags": ["reports"],
}
ONCE = {
    "kind": "amqp",
    "target": {
        "url": "amqp://broker.example.com/",
        "exchange": "",
        "routing_key": "mails",
        "json": {"to": "ann"},
    },
    "run_at": "2030-01-31T08:30:00Z",
}
KEY = {"name": "deployment", "scopes": ["write"], "expires_in_seconds": 7_776_000}
SOON = {
    "kind": "http",
    "target": {"url": "https://example.com/reminders"},
    "run_in_seconds": 1200,
}
PING = {"kind": "http", "target": {"url": "https://example.com/ping"}, "every_seconds": 90}

UNNAMED = {name: value for name, value in NIGHTLY.items() if name != "name"}

BODIES: dict[str, dict[str, Any]] = {
    "JobDocument": {"nightly": NIGHTLY, "once": ONCE, "interval": PING, "soon": SOON},
    "JobReplacement": {"nightly": UNNAMED, "interval": PING},
    "JobPatch": {
        "later": {"cron": "0 4 * * *"},
        "once": {"cron": None, "run_at": "2030-01-31T08:30:00Z"},
        "header": {"target": {"headers": {"X-Team": "billing"}}, "metadata": {"ticket": None}},
    },
    "JobBatch": {"two": {"jobs": [ONCE, PING]}},
    "BulkRequest": {
        "preview": {"action": "pause", "filter": {"tag": "billing"}, "dry_run": True},
        "edit": {
            "action": "edit",
            "filter": {"kind": "http", "tag": ["billing", "nightly"]},
            "patch": {"timeout_seconds": 60},
        },
        "run": {"action": "run", "filter": {"failing": True}, "rate_per_second": 5},
        "delete": {"action": "delete", "filter": {"state": "finished"}},
    },
    "Cancellation": {"again": {"retry": True}},
    "CalendarDocument": {
        "hours": {"timezone": "Europe/Berlin", "weekly": ["MON-FRI 09:00-17:00"]},
        "holidays": {
            "timezone": "Europe/Berlin",
            "holidays": ["DE-BY"],
            "dates": ["2030-12-24", "2030-12-31"],
        },
    },
    "NoFields": {"nothing": {}},
    "TargetTest": {"call": {"kind": "http", "target": HTTP_TARGET, "timeout_seconds": 10}},
    "JobTest": {"as the job": {}, "shorter": {"timeout_seconds": 5}},
    "Asked": {"side by side": {"overlap": "allow_all"}, "as the job": {"overlap": "as_job"}},
    "Skip": {"next": {"runs": 1}, "until": {"until": "2030-02-01T09:00:00Z"}},
    "FlowLimits": {
        "gentle": {"max_concurrency": 10},
        "quota": {"rate": 100, "period_seconds": 60, "burst": 10},
    },
    "RuleDocument": {
        "failures": {"events": ["failed", "recovered"], "after": 3, "tag": "reports"},
        "missed": {"events": ["missed", "invalid"]},
        "dead man's switch": {"events": ["not_succeeded"], "tag": "reports", "seconds": 90000},
    },
    "ChannelDocument": {
        "slack": {
            "preset": "slack",
            "target": {"url": "https://hooks.slack.com/services/${secret:slack}"},
        },
        "signed": {
            "target": {
                "url": "https://example.com/alerts",
                "auth": {"type": "signature", "secret": "${secret:alerts}"},
            }
        },
    },
    "JobPause": {"reason": {"reason": "the receiver is moved", "until": "2030-02-01T09:00:00Z"}},
    "Resumption": {"count": {"missed": "once", "dry_run": True}, "latest": {"missed": "once"}},
    "NewMaintenance": {
        "tag": {"tag": "reports", "ends_at": "2100-01-01T04:00:00Z", "reason": "migration"},
        "everything": {
            "all": True,
            "starts_at": "2100-01-01T02:00:00Z",
            "ends_at": "2100-01-01T04:00:00Z",
            "on_closed": "next_open",
        },
    },
    "NewPause": {"tag": {"tag": "reports"}, "everything": {"all": True, "reason": "maintenance"}},
    "KeyRequest": {"deployment": KEY},
    "SecretValue": {
        "token": {"value": "correct horse battery staple", "hosts": ["api.example.com"]},
    },
    "SetRequest": {
        "set": {
            "set": "billing",
            "defaults": {"timezone": "Europe/Paris"},
            "jobs": {
                "nightly-invoice": {
                    "cron": "0 3 * * *",
                    "http": {"url": "https://billing.example.com/invoice"},
                },
            },
        },
        "prune": {"set": "billing", "jobs": {}, "prune": "delete"},
    },
    "SignIn": {"key": {"key": f"tocsin_{'0' * 12}_{'0' * 64}"}},
    "SchedulePreview": {
        "nightly": {"cron": "0 3 * * *", "timezone": "Europe/Paris", "count": 3},
        "interval": {"every_seconds": 90},
    },
}
"""Example bodies by the name of the body's Struct, then by a name of their own."""


def shortest_body(struct: type) -> str | None:
    """Return the shortest example of a Struct, or of one that the Struct is made of, as JSON."""
    for one in struct.__mro__:
        if bodies := BODIES.get(one.__name__):
            return min(map(json.dumps, bodies.values()), key=len)
    return None
