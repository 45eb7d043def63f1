"""Seal tokens for storage: what lies in the database is of no use without a secret of the environment."""

import base64

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct


class CannotOpen(Exception):
    """The token was sealed with another secret, for somebody else, or has been changed."""


class _Content(Struct, frozen=True):
    broker: str
    user_id: str
    token: str


class TokenSeal:
    """Seals with the first secret and opens with any, so that one can be replaced without a gap.

    Secrets are long and random: keys are derived from them without the work that would slow down guessing.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def seal(self, *, broker: str, user_id: str, token: str) -> bytes:
        return self._fernet.encrypt(msgspec.json.encode(_Content(broker, user_id, token)))

    def open(self, sealed: bytes, *, broker: str, user_id: str) -> str:
        """Give the token back, if it was sealed for this broker and user.

        Raises:
            CannotOpen: it was not, or not with one of the secrets.
        """
        try:
            content = msgspec.json.decode(self._fernet.decrypt(sealed), type=_Content)
        except (InvalidToken, msgspec.MsgspecError):
            raise CannotOpen("the token cannot be opened with the secrets given") from None
        # A row that was moved to another broker or user by hand is not theirs.
        if (content.broker, content.user_id) != (broker, user_id):
            raise CannotOpen("the token was sealed for another broker or user")
        return content.token


def _key(secret: str) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"pulse broker sessions").derive(secret.encode())
    return base64.urlsafe_b64encode(derived)
