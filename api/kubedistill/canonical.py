"""Canonical JSON and the digests that identify rows, artifacts and specs."""

import base64
import hashlib
import json

from kubedistill.json_values import Json


def canonical_json(value: Json) -> bytes:
    """Encode JSON values so that equal values give equal bytes: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def text_digest(text: str) -> str:
    """Return the sha256 of a string's bytes in UTF-8, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def short_digest(*parts: str) -> str:
    """Return 5 base32 characters of the sha256 of some strings, as a suffix for names and labels."""
    return base64.b32encode(hashlib.sha256("/".join(parts).encode()).digest()).decode().lower()[:5]


def digest(value: Json) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
