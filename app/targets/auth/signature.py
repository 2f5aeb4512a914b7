"""`{"type": "signature", "secret"}`: Standard Webhooks, by which a receiver knows us and the body.

While a secret is changed, `previous_secret` signs as well, so that receivers may have either.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook

from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.auth.base import Auth, AuthFailed, Outgoing

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


class SignatureAuth(Auth, frozen=True, kw_only=True, tag="signature"):
    """Signs the run's identity, the time of the attempt, and the body."""

    secret: Secret
    previous_secret: Secret | None = None

    def errors(self) -> Iterable[FieldError]:
        if not is_key(self.secret):
            yield FieldError(field="secret", message=WANTED)
        if self.previous_secret is not None and not is_key(self.previous_secret):
            yield FieldError(field="previous_secret", message=WANTED)

    def header_names(self) -> frozenset[str]:
        return frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})

    async def headers(self, request: Outgoing) -> Mapping[str, str]:
        now = datetime.now(UTC)
        try:
            body = request.body.decode()
        except UnicodeDecodeError:
            message = "only text is signed: the body is not UTF-8, send it as base64 in JSON"
            raise AuthFailed(message, retryable=False) from None
        secrets = filter(None, (self.secret, self.previous_secret))
        id = request.idempotency_key.replace(".", "_")  # what is signed is split at dots
        return {
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                Webhook(secret).sign(id, now, body) for secret in secrets
            ),
        }


WANTED = (
    f"must be base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} random bytes, as a rule after {PREFIX}: "
    f"echo {PREFIX}$(head -c 32 /dev/urandom | base64)"
)


def is_key(secret: str) -> bool:
    try:
        return len(b64decode(secret.removeprefix(PREFIX), validate=True)) in KEY_BYTES
    except (binascii.Error, ValueError):
        return False


AUTH = SignatureAuth
