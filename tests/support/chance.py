"""One seed for every random choice of a run of tests: `FAULTS_SEED=7 make test-faults`.

Without that variable the seed is drawn at random, and printed in the header and with every failure,
so that the run can be repeated. Each test has a source of its own, so that a test can be repeated
alone.
"""

import os
import random
import secrets
from collections.abc import Generator

import pytest

VARIABLE = "FAULTS_SEED"


def pytest_configure() -> None:
    # In the environment, where the processes that share the tests among them find it, too.
    os.environ.setdefault(VARIABLE, str(secrets.randbelow(10**6)))


def seed() -> int:
    return int(os.environ[VARIABLE])


def pytest_report_header() -> str:
    return f"seed: {seed()} (again with {VARIABLE}={seed()})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and "chance" in getattr(item, "fixturenames", ()):
        report.sections.append(("seed", f"again with {VARIABLE}={seed()}"))
    return report


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Give this test's source of random choices."""
    return random.Random(f"{seed()} {request.node.name}")
