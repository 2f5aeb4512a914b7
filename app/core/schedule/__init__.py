"""When jobs run: cron, intervals, time zones, clock changes."""
