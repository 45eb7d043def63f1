"""Takes secrets out of whatever is about to be logged.

Two nets: the value under a key that names a secret, at any depth, and inside any string the shapes in which
secrets travel (bearer tokens, passwords in addresses, JWTs, keys of chat bots, `password=...` in reprs and
query strings). The second one rather masks a harmless word than lets a secret through.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache

REDACTED = "[redacted]"

_WORDS = r"authorization|token|secret|passw(?:or)?d|passphrase|api[_-]?key|totp|jwt|mpin|cookie"
# Deeper containers are left out, which is also the way out of one that contains itself.
_DEPTH_MAX = 8

_names_a_secret = re.compile(_WORDS, re.IGNORECASE).search
# One search tells most strings free of all of the shapes below.
_may_hold_a_secret = re.compile(rf"{_WORDS}|bearer|eyJ|://|\d:AA", re.IGNORECASE).search
_SHAPES = tuple(
    re.compile(pattern, re.IGNORECASE | re.VERBOSE)
    for pattern in (
        # postgresql://user:PASSWORD@host
        r'( :// [^\s/:@]* : ) [^\s/"<>]+ (?=@)',
        r"( \b bearer \s+ ) [^\s\"',;]+",
        r"( \b authorization \s* : \s* ) [^\r\n\"',]+",
        # A JWT, which starts with the base64 of {", with whatever is glued to it. Whole runs at once, or a long
        # hostile string would take forever.
        r"() (?<![\w-]) (?= [\w-]* (?-i:eyJ) ) [\w-]++ (?: \. [\w-]*+ ){2,4}",
        # A chat bot's key, a number and 35 characters, bare or in an address.
        r"() \d{5,20} : AA [\w-]{25,}+",
        # password=x, 'api_key': 'x', (b'x-api-key', b'x'), and the same with escaped quotes
        rf"""( (?:{_WORDS}) [\w-]{{0,40}} (?: \s? = \s? | \\? ["'] \s? [:,] \s? ) )
             (?: b? \\? " [^"]* "? | b? \\? ' [^']* '? | (?!\[redacted) [^\s"'&,;)}}\]]+ )""",
    )
)


def mask(text: str) -> str:
    if _may_hold_a_secret(text):
        for shape in _SHAPES:
            text = shape.sub(rf"\g<1>{REDACTED}", text)
    return text


def redact(value: object, *, depth: int = 0) -> object:
    """Give a copy of `value` without secrets, made of what JSON knows; other objects become their `str`."""
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return mask(str(value))
    if depth == _DEPTH_MAX:
        return "[too deep]"
    if isinstance(value, Mapping):
        return dict(_redact_pair(name, item, depth + 1) for name, item in value.items())
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes)):
        return list(_redact_pair(*value, depth + 1))  # perhaps a header
    return [redact(item, depth=depth + 1) for item in value]


def _redact_pair(name: object, value: object, depth: int) -> tuple[str, object]:
    shown, secret = _read_name(str(name))
    return shown, REDACTED if secret else redact(value, depth=depth)


@lru_cache(maxsize=1024)  # the same few names come back on every line
def _read_name(name: str) -> tuple[str, bool]:
    return mask(name), _names_a_secret(name) is not None
