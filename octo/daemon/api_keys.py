"""/account/keys: who may push."""

import base64
import binascii
import hashlib

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import NotFound, Usage
from octo.model import Fingerprint, Key, user_name

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
MAX_LINE = 16 * 1024  # bytes
MIN_RSA = 2048  # bits


def parse(text: str) -> tuple[str, str, Fingerprint]:
    """One public key line to (kind, base64 blob, fingerprint); the comment is dropped.

    Raises Usage for anything else: several lines, options, a private key, a weak key. Source: sshd(8),
    AUTHORIZED_KEYS FILE FORMAT; RFC 4253 6.6.
    """
    if "PRIVATE KEY" in text:
        raise Usage("cannot add that key: it is a private key", hint="Keep it secret. Give the .pub file beside it.")
    lines = [line for line in text.strip().split("\n") if line.strip()]
    words = lines[0].split() if len(lines) == 1 and len(text) <= MAX_LINE else []
    if len(words) < 2 or words[0] not in KINDS:
        raise Usage(
            "cannot add that key: it is not one line of `TYPE BASE64 COMMENT`",
            hint=f"Give the .pub file of a key of type {', '.join(KINDS)}.",
        )
    kind, blob = words[0], words[1]
    try:
        data = base64.b64decode(blob, validate=True)
        fields = _fields(data)
    except (binascii.Error, ValueError):
        raise Usage("cannot add that key: its base64 part is broken") from None
    if not fields or fields[0] != kind.encode():
        raise Usage("cannot add that key: its type and its content differ")
    if kind == "ssh-rsa" and int.from_bytes(fields[2], "big").bit_length() < MIN_RSA:
        raise Usage(
            f"cannot add that key: RSA below {MIN_RSA} bits is too weak", hint="Make one: ssh-keygen -t ed25519"
        )
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return kind, base64.b64encode(data).decode(), Fingerprint(f"SHA256:{digest}")


def _fields(data: bytes) -> list[bytes]:
    """The length-prefixed strings of an SSH public key blob."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            raise ValueError("cut short")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    if len(found) < 2 or (found[0] == b"ssh-rsa" and len(found) != 3):
        raise ValueError("not the fields of a key")
    return found


def shape(key: Key) -> Json:
    return {
        "fingerprint": key.fingerprint,
        "user": key.user,
        "public_key": f"{key.kind} {key.blob}",
        "created_at": iso(key.added_at),
    }


def every(ask: Ask) -> Json:
    return [shape(k) for k in ask.octo.catalog.keys()]  # noqa: SIM118 - the catalog is no dict


def add(ask: Ask) -> Json:
    kind, blob, fingerprint = parse(ask.text("public_key"))
    key = Key(fingerprint, user_name(ask.text("user")), kind, blob, ask.octo.ports.clock.now())
    ask.octo.catalog.add_key(key)
    return shape(key)


def remove(ask: Ask) -> Json:
    """By fingerprint, by a beginning of it that names one key, or by user: all keys of that user."""
    needle = ask.path["needle"]
    keys = ask.octo.catalog.keys()
    found = [k for k in keys if k.user == needle] or [
        k for k in keys if needle and k.fingerprint.removeprefix("SHA256:").startswith(needle.removeprefix("SHA256:"))
    ]
    if not found:
        raise NotFound("cannot remove that key: there is none of that name or fingerprint", hint="See: octo keys")
    if len({k.user for k in found}) > 1:
        raise Usage("cannot remove that key: several begin like this", hint="Give more of the fingerprint.")
    for key in found:
        ask.octo.catalog.remove_key(key)
    return [shape(k) for k in found]


RESOURCES = (
    Resource("GET", "/account/keys", Verb.MANAGE, every),
    Resource("POST", "/account/keys", Verb.MANAGE, add, status=201),
    Resource("DELETE", "/account/keys/{needle:path}", Verb.MANAGE, remove),
)
