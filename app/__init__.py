"""Tocsin: a job scheduler on Postgres LISTEN/NOTIFY that calls HTTP, AMQP and mail targets on time.

A job is a row of `tocsin.jobs`, written through the API (`api`) or in SQL; triggers notify the
instances (`scheduler`). An instance claims due jobs under a lease, has an executor (`targets`)
call the target, and settles the claim: it records the execution and plans the next run. `core`
holds the rules, `db` all access to Postgres, `vault` the encryption of secrets.
"""
