-- db/triggers/1_settings.sql: what holds for all that follows.

-- Functions and triggers; safe to apply again at any time, and applied after every migration.
-- db/triggers.sql is made of the files in db/triggers by `make triggers`: edit those.
-- Without the triggers nothing is lost: rows need next_run filled in by hand and start later.
-- Nothing here looks a name up in a schema that others may write to: each function has a search path
-- of its own, or a body that is bound when it is created.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;  -- a backslash is one, whatever is set for the database
