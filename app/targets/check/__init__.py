"""The kind `check`: jobs that expect pings of what runs elsewhere."""
