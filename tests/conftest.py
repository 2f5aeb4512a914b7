"""Every test may use the fixtures of these modules."""

pytest_plugins = [
    "tests.support.api",
    "tests.support.canary",
    "tests.support.instances",
    "tests.support.postgres",
    "tests.support.rabbit",
    "tests.support.sink",
]
