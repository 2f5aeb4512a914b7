"""What becomes of a run, from its claim to its settlement.

`claim` holds the types; `misfire` drops runs that come too late, `transition` (the state machine)
settles all others, with the waits of `retry`.
"""
