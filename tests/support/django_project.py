"""Django as the tests use it: a process has one configuration, whichever test comes first."""

import django
from django.conf import settings


def configure() -> None:
    """Configure Django, unless it is; tests say which database and which addresses they mean."""
    if not settings.configured:
        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
            SECRET_KEY="x",
            USE_TZ=True,
        )
        django.setup()
