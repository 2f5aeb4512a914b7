"""Fuzzes one parser in this process, which coverage guides: `python -m tests.fuzz.one NAME …`.

What comes after the name is for libFuzzer. Ends when the time is over, or at the first finding,
which it prints.
"""

import sys
import time
import traceback
from importlib import import_module

from app.errors import InvalidInput

atheris = import_module("atheris")  # not declared for tests: `make fuzz` alone installs it

with atheris.instrument_imports(include=["app", "tests.fuzz.parsers"]):
    from tests.fuzz.parsers import PARSERS, most_seconds

SLOWED = 5
"""So much slower is what is instrumented, about; what is slow is looked at again without."""


def main() -> None:
    name = sys.argv[1]
    parser = PARSERS[name]

    def try_one(data: bytes) -> None:
        text = data.decode(errors="replace")
        began = time.process_time()
        try:
            parser(text)
        except InvalidInput:
            pass
        except Exception:
            print(f"FINDING {name} {text!r}", flush=True)
            traceback.print_exc()
            raise
        seconds = time.process_time() - began
        if seconds > SLOWED * most_seconds(name):
            print(f"FINDING {name} {text!r}", flush=True)
            message = f"took {seconds:.2f} s"
            raise TimeoutError(message)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
