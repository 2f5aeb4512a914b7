"""The most connections to Postgres that processes need: what a pooler or a role has to allow."""

AT_ONCE = 3
"""How many statements about parts of many jobs run at once, each for a moment."""

POOLS = {
    "work": 6,  # what no due job waits for
    "settle": 2,
    "settle_quick": 4,
    "settle_patient": 2,
    "extend": 2,
    "extend_quick": AT_ONCE,
    "extend_patient": 1,
    "claim_quick": AT_ONCE,
    "claim_patient": 1,
    "claim_raised": 1,
    "plan": 2 * AT_ONCE,  # new jobs and older ones
    "bulk": 2,
}
"""The pools of an instance; those in pairs close after minutes in which no job is written apart."""
LISTENING = 1
UPKEEP = 1
"""The session of the hourly upkeep, and of a step that ran late."""

OF_INSTANCE = sum(POOLS.values()) + LISTENING + UPKEEP
OF_API = 10
"""The most connections in the pool of an API process."""
OF_PAGES = 3
"""The most connections with which an API process reads what the dashboard shows."""
OF_PINGS = 4
"""The most connections that pings have to themselves in an API process."""
NEEDED = (
    f"{OF_INSTANCE} connections for each instance and {OF_API} for each API process, "
    f"{OF_PINGS} more for its pings, and {OF_PAGES} more while somebody looks at its dashboard"
)
