"""Jobs that are kept elsewhere: crontabs, pg_cron, the Go scheduler that this project follows."""
