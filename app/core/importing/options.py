"""The options of curl and wget, by what an import makes of them."""

from collections.abc import Mapping

from app.core.importing.programs import NotACall

CURL_SHORT = {
    "X": "request", "H": "header", "d": "data", "u": "user", "A": "user-agent", "m": "max-time",
    "F": "form", "T": "upload-file", "o": "output", "b": "cookie", "e": "referer", "x": "proxy",
    "E": "cert", "K": "config", "w": "write-out", "c": "cookie-jar", "D": "dump-header",
    "f": "fail", "s": "silent", "S": "show-error", "L": "location", "k": "insecure", "I": "head",
    "G": "get", "v": "verbose", "g": "globoff", "4": "ipv4", "6": "ipv6", "i": "include",
    "N": "no-buffer",
}  # fmt: skip
"""The long names of the options of curl that have a letter."""
CURL_VALUES = frozenset(
    {
        *("request", "header", "data", "data-raw", "data-ascii", "data-binary", "data-urlencode"),
        *("json", "user", "user-agent", "max-time", "connect-timeout", "retry", "retry-delay"),
        *("retry-max-time", "url", "oauth2-bearer", "referer", "output", "write-out", "form"),
        *("upload-file", "cookie", "proxy", "cert", "config", "cookie-jar", "dump-header", "key"),
        *("cacert", "stderr", "limit-rate", "resolve", "unix-socket"),
    }
)
"""The options of curl that are followed by a value."""
CURL_IGNORED = frozenset(
    {
        *("fail", "fail-with-body", "silent", "show-error", "compressed", "verbose", "globoff"),
        *("output", "write-out", "connect-timeout", "retry-delay", "retry-max-time", "stderr"),
        *("no-progress-meter", "ipv4", "ipv6", "include", "no-buffer", "retry-connrefused"),
        *("retry-all-errors", "tlsv1.2", "http1.1", "http2", "limit-rate"),
    }
)
"""The options of curl that change nothing of the request itself."""
WGET_SHORT = {
    "q": "quiet", "O": "output-document", "T": "timeout", "t": "tries", "U": "user-agent",
    "o": "output-file", "S": "server-response", "v": "verbose", "b": "background",
}  # fmt: skip
"""The same of wget."""
WGET_VALUES = frozenset(
    {
        *("output-document", "timeout", "tries", "user-agent", "output-file", "header", "method"),
        *("post-data", "body-data", "post-file", "body-file", "user", "password", "http-user"),
        *("http-password", "connect-timeout", "read-timeout", "waitretry", "referer"),
    }
)
"""The same of wget."""
WGET_IGNORED = frozenset(
    {
        *("quiet", "output-document", "output-file", "no-verbose", "server-response", "verbose"),
        *("connect-timeout", "read-timeout", "waitretry", "background", "no-cache"),
    }
)
"""The same of wget."""


def read_options(
    words: list[str], short: Mapping[str, str], with_value: frozenset[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Read options and addresses.

    Raises:
        NotACall: an option lacks its value, or is unknown.
    """
    options: list[tuple[str, str]] = []
    urls: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name in with_value and not equals:
                value = next_of(rest, word)
            options.append((name, value))
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter == "n" and letters[:1] == "v" and "quiet" in short.values():
                    letters = letters[1:]  # wget's -nv
                    continue
                name = short.get(letter, letter)
                if name in with_value:
                    options.append((name, letters or next_of(rest, word)))
                    letters = ""
                else:
                    options.append((name, ""))
        else:
            urls.append(word)
    return options, urls


def next_of(rest: list[str], word: str) -> str:
    if not rest:
        message = f"has no value for {word}"
        raise NotACall(message)
    return rest.pop(0)
