"""Tocsin: a job scheduler on Postgres LISTEN/NOTIFY that calls HTTP and AMQP targets on time."""
