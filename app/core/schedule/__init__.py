"""When jobs run.

`schedule` answers all questions about runs. Below it, `cron_parser` reads a text into the sets of
`cron`, `occurrences` places cron and interval runs in real time, `zones` and `zone_rules` know the
offsets. `words` and `cron_words` describe a schedule in English; `replan` moves planned runs when
newer time zone rules arrive.
"""
