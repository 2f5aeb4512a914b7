"""Alerts: what rules make of what has happened (`rules`), and how it is worded (`messages`)."""
