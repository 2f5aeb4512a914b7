"""The only importer of asyncpg: one typed function per named query, Structs in and out.

- Connections: `connecting` opens one, with the help of `keepalive`, `pooler` and `refusals`;
  `database` pools them; `listener` holds the session that hears notifications and looks.
- Statements: `queries` loads `db/queries/*.sql`, `errors` translates what Postgres refuses,
  `isolating` finds the row for which a statement about many rows fails, and puts jobs aside.
- The life of a claim: `claims` looks for due jobs and claims them, extends leases, settles, and
  plans jobs written in SQL; `targets` reads targets written in SQL, to be checked; `polling`
  announces that an instance polls; `clock` estimates the database's clock.
- What clients see: `jobs`, `executions`, `instances`, `keys`, `sessions`, `secrets`, `audit`.
- Upkeep: `upkeep` prunes, `zones` and `clock_steps` replan jobs after new time zone rules and after
  a clock that was wrong, by `walks`; `kinds` and `rights` report to the doctor; `migrate` changes
  the schema.
"""

from app.db.database import Database, Runner

__all__ = ["Database", "Runner"]
