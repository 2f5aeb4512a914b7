"""Every test may use the fixtures of these modules."""

import gc
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.alone",
    "tests.support.api",
    "tests.support.attempts",
    "tests.support.canary",
    "tests.support.chance",
    "tests.support.commands",
    "tests.support.days",
    "tests.support.instances",
    "tests.support.nameserver",
    "tests.support.postgres",
    "tests.support.faketime",  # which imports the one before
    "tests.support.browser",  # as well
    "tests.support.rabbit",
    "tests.support.served",
    "tests.support.sessions",
    "tests.support.sink",
]

# Under nohup it is ignored, which processes inherit and respect; tests send it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine is slow to make examples, which says nothing of what they show.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: what a change breaks is what the change did.
settings.register_profile("same", PATIENT, derandomize=True)
# `make test ARGS=--hypothesis-profile=new` looks for examples that nobody has seen.
settings.register_profile("new", PATIENT)
settings.load_profile("same")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all tests, again and again, for what lasts."""
    gc.collect()
    gc.freeze()
