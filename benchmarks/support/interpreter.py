"""How Python was built: one that is not optimised takes a fifth longer for each job."""

import platform
import sys
import sysconfig

OF_DISTRIBUTIONS = "/usr"
"""The prefix of the Python of a Linux distribution: Debian, Ubuntu and Fedora optimise theirs."""


def is_optimised() -> bool:
    """Return whether Python was built with profile-guided optimisation, as official images are."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return sys.base_prefix == OF_DISTRIBUTIONS or "--enable-optimizations" in options


def described() -> str:
    """Say which Python this is."""
    built = "optimised" if is_optimised() else "not optimised"
    return f"Python {platform.python_version()} ({built})"
