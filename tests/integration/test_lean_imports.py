"""An instance loads what it may never need once it is needed."""

import subprocess
import sys

RARELY_NEEDED = ("aiosmtplib", "jinja2", "markupsafe")


def test_an_instance_imports_neither_the_mail_client_nor_the_template_engine() -> None:
    code = f"import sys, app.scheduler.instance; print({{*{RARELY_NEEDED}}} & {{*sys.modules}})"

    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
