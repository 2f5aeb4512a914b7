"""Keeps a server from choosing a group so large that the handshake holds up the event loop.

In TLS 1.3 OpenSSL offers the finite-field groups of RFC 7919 up to 8,192 bits, of which one takes a
fifth of a second for each handshake. Python cannot choose groups before 3.15. OpenSSL's
configuration can, for all contexts that are made after it was read.
"""

import _ssl
import ctypes
import ssl
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile

CURVES = "X25519:P-256:X448:P-521:P-384"
POST_QUANTUM = "X25519:X25519MLKEM768:P-256:X448:P-521:P-384"
"""The post-quantum groups that OpenSSL has from 3.5 on."""
CONFIGURATION = """\
tocsin = tocsin_modules
[tocsin_modules]
ssl_conf = tocsin_ssl
[tocsin_ssl]
system_default = tocsin_default
[tocsin_default]
Groups = {groups}
CipherString = {ciphers}
{least}
"""
"""`system_default` replaces the system's section, so its settings, as Python tells them, are
repeated."""


@lru_cache(maxsize=1)
def limit_groups() -> bool:
    """Have OpenSSL offer curves alone, whose cost is bounded; once in a process.

    Return False if the operator's configuration names groups, or OpenSSL cannot be configured.
    """
    if names_groups(Path(ssl.get_default_verify_paths().openssl_cafile).with_name("openssl.cnf")):
        return False
    try:
        load = ctypes.CDLL(_ssl.__file__).CONF_modules_load_file
    except (AttributeError, OSError):  # linked statically
        return False
    load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong]
    load.restype = ctypes.c_int
    with NamedTemporaryFile("w", suffix=".cnf") as file:
        file.write(configuration())
        file.flush()
        return bool(load(file.name.encode(), b"tocsin", 0) > 0)


def names_groups(file: Path) -> bool:
    """Whether a configuration of OpenSSL chooses groups itself."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return False
    lines = (line.partition("=")[0].strip() for line in text.splitlines() if "=" in line)
    return any(line.rpartition(".")[2] in {"Groups", "Curves"} for line in lines)


def configuration() -> str:
    known = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    names = [one["name"] for one in known.get_ciphers() if one["kea"] != "kx-any"]
    least = known.minimum_version
    return CONFIGURATION.format(
        groups=POST_QUANTUM if ssl.OPENSSL_VERSION_INFO >= (3, 5) else CURVES,
        ciphers=":".join((*names, f"@SECLEVEL={known.security_level}")),
        least=f"MinProtocol = {least.name.replace('_', '.')}" if least > 0 else "",
    )
