"""What services take as messages, by their own pages, as JSON Schemas."""

from typing import Any

TEXT = {"type": "string", "minLength": 1}
AT = {"type": "string", "format": "date-time"}

SLACK = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {**TEXT, "maxLength": 40_000},
        "unfurl_links": {"type": "boolean"},
        "unfurl_media": {"type": "boolean"},
    },
    "additionalProperties": False,
}
"""docs.slack.dev: messaging/sending-messages-using-incoming-webhooks; the flags by
reference/messaging/link-unfurling, of messages by webhooks as well."""

TEXT_RUN = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {
        "type": {"const": "TextRun"},
        "text": TEXT,
        "isSubtle": {"type": "boolean"},
        "weight": {"enum": ["Default", "Lighter", "Bolder"]},
        "color": {"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
    },
    "additionalProperties": False,
}
TEAMS = {
    "type": "object",
    "required": ["type", "attachments"],
    "properties": {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["contentType", "content"],
                "properties": {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": ["string", "null"]},
                    "content": {
                        "type": "object",
                        "required": ["type", "version", "body"],
                        "properties": {
                            "$schema": {
                                "const": "http://adaptivecards.io/schemas/adaptive-card.json"
                            },
                            "type": {"const": "AdaptiveCard"},
                            "version": {"enum": ["1.2", "1.3", "1.4", "1.5"]},
                            "body": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "object",
                                    "required": ["type", "inlines"],
                                    "properties": {
                                        "type": {"const": "RichTextBlock"},
                                        "inlines": {"type": "array", "items": TEXT_RUN},
                                    },
                                    "additionalProperties": False,
                                },
                            },
                            "msteams": {"type": "object"},
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using:
workflows take adaptive cards only, and read them at `attachments[0].content`. Of about 28 KB at
most: learn.microsoft.com/connectors/teams, "Message size limit". The blocks:
adaptivecards.io/explorer/RichTextBlock.html, of cards since 1.2."""

DISCORD = {
    "type": "object",
    "required": ["content"],
    "properties": {
        "content": {**TEXT, "maxLength": 2000},
        "allowed_mentions": {
            "type": "object",
            "properties": {
                "parse": {"type": "array", "items": {"enum": ["roles", "users", "everyone"]}}
            },
            "additionalProperties": False,
        },
        "flags": {"enum": [4, 4096, 4 | 4096]},
    },
    "additionalProperties": False,
}
"""docs.discord.com/developers/resources/webhook#execute-webhook."""

PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {**TEXT, "maxLength": 255},
        "client": TEXT,
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {**TEXT, "maxLength": 1024},
                "source": TEXT,
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": AT,
                "component": TEXT,
                "group": TEXT,
                "class": TEXT,
                "custom_details": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
"""github.com/PagerDuty/api-schema, reference/events-v2/openapiv3.json; the lengths are of
github.com/PagerDuty/developer-docs, docs/events-API-v2/02-Trigger-Events.md."""

OPSGENIE_CREATE = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {**TEXT, "maxLength": 130},
        "alias": {**TEXT, "maxLength": 512},
        "description": {**TEXT, "maxLength": 15_000},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
        "entity": {**TEXT, "maxLength": 512},
        "source": {**TEXT, "maxLength": 100},
        "priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]},
    },
    "additionalProperties": False,
}
OPSGENIE_CLOSE = {
    "type": "object",
    "properties": {
        "user": {**TEXT, "maxLength": 100},
        "source": {**TEXT, "maxLength": 100},
        "note": {**TEXT, "maxLength": 25_000},
    },
    "additionalProperties": False,
}
"""docs.opsgenie.com/docs/alert-api, "Create Alert" and "Close Alert"."""

LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
ALERTMANAGER = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["labels"],
        "properties": {
            "labels": {
                **LABELS,
                "minProperties": 1,
                "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
            },
            "annotations": LABELS,
            "startsAt": AT,
            "endsAt": AT,
            "generatorURL": {"type": "string", "format": "uri"},
        },
        "additionalProperties": False,
    },
}
"""github.com/prometheus/alertmanager, api/v2/openapi.yaml, `postableAlerts`."""

SCHEMAS: dict[str, dict[str, Any]] = {
    "slack": SLACK,
    "teams": TEAMS,
    "discord": DISCORD,
    "pagerduty": PAGERDUTY,
    "opsgenie": OPSGENIE_CREATE,
    "alertmanager": ALERTMANAGER,
}
"""The bodies of messages by preset."""
