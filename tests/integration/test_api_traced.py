"""Which span made a job, as the API keeps it where traces are sent."""

from typing import Any

import httpx

from tests.support.api import LATER, serving
from tests.support.recorder import Recorder
from tests.support.roles import as_role

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACED = {"traceparent": HEADER}


async def test_a_job_keeps_the_span_that_made_it_unless_it_names_one(database_url: str) -> None:
    async with serving(as_role("api", database_url), Recorder(), keeps_traceparent=True) as api:

        async def kept(job: dict[str, Any], header: str = HEADER) -> dict[str, Any]:
            answer = await api.post("/v1/jobs", json=LATER | job, headers={"traceparent": header})
            assert answer.status_code == 201, answer.text
            metadata: dict[str, Any] = answer.json()["metadata"]
            return metadata

        assert await kept({}) == TRACED
        assert await kept({"metadata": {"team": "a"}}) == TRACED | {"team": "a"}
        assert await kept({"metadata": {"traceparent": None}}) == {"traceparent": None}
        assert await kept({}, "nonsense") == {}
        full = {"team": "a" * 65_400}
        assert await kept({"metadata": full}) == full
        many = await api.post("/v1/jobs/batch", json=[LATER, LATER], headers=TRACED)
        assert [job["metadata"] for job in many.json()["items"]] == [TRACED, TRACED]
        named = await api.put("/v1/jobs/named", json=LATER, headers=TRACED)
        assert named.json()["metadata"] == {}


async def test_metadata_stay_as_sent_where_no_traces_are(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/jobs", json=LATER, headers=TRACED)

    assert answer.json()["metadata"] == {}
