"""A client of Tocsin, the job scheduler on Postgres.

    with Tocsin() as tocsin:  # at TOCSIN_URL, with TOCSIN_API_KEY
        tocsin.schedule("nightly", "0 3 * * *", post="https://example.com/report")

`tocsin.answers` has what is answered, `tocsin.errors` what goes wrong, and `tocsin.receiver` helps
those whom Tocsin calls.
"""

from tocsin.answers import Execution, Job
from tocsin.clients import AsyncTocsin, Tocsin
from tocsin.errors import (
    Conflict,
    Denied,
    Edited,
    Failed,
    FieldError,
    Invalid,
    NotConnected,
    NotFound,
    RateLimited,
    Refused,
    TocsinError,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)

__all__ = [
    "AsyncTocsin",
    "Conflict",
    "Denied",
    "Edited",
    "Execution",
    "Failed",
    "FieldError",
    "Invalid",
    "Job",
    "NotConnected",
    "NotFound",
    "RateLimited",
    "Refused",
    "Tocsin",
    "TocsinError",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
]
