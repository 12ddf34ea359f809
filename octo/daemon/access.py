"""Who is asking, and may they? One decision function; what it does not name is denied."""

import secrets
import threading
from dataclasses import dataclass
from enum import Enum

from octo.catalog import Catalog
from octo.errors import Forbidden, OctoError, Unavailable
from octo.model import App, UserName, app_name, fingerprint


class Verb(Enum):
    READ = "read"  # clone, fetch, look
    WRITE = "write"  # push, config, scale
    MANAGE = "manage"  # apps, keys, the server


@dataclass(frozen=True)
class Actor:
    """Somebody whom a door has recognised. user None: the operator, root on this machine."""

    user: UserName | None
    operator: bool = False

    @property
    def shown(self) -> str:
        return self.user or "the operator"


OPERATOR = Actor(None, operator=True)
NOBODY = Actor(None)


class Access:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[str, UserName] = {}  # by fingerprint, as was last heard
        self._tokens: dict[str, Actor] = {}
        self._lock = threading.Lock()

    def learn(self) -> None:
        """Remember who has a key, for when the store is away."""
        keys = self._catalog.keys()
        self._known = {key.fingerprint: key.user for key in keys}

    def by_fingerprint(self, text: str) -> Actor:
        """The owner of a registered key, else NOBODY.

        While the store is away, its last known owner, who is to read that it is, and not that the key is unknown:
        without the store nothing is done for anybody.
        """
        asked = fingerprint(text)
        try:
            key = self._catalog.key(asked)
        except Unavailable:
            if asked in self._known:
                return Actor(self._known[asked])
            raise
        if key is None:
            self._known.pop(asked, None)
            return NOBODY
        self._known[asked] = key.user
        return Actor(key.user)

    def is_app(self, name: str) -> bool:
        """Whether there is an app of that name, as far as can be told now."""
        try:
            self._catalog.app(app_name(name))
        except OctoError:
            return False
        return True

    def grant(self, actor: Actor) -> str:
        """A token that stands for the actor until `revoke`; for one command."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[token] = actor
        return token

    def revoke(self, token: str) -> None:
        with self._lock:
            self._tokens.pop(token, None)

    def by_token(self, token: str) -> Actor:
        with self._lock:
            return self._tokens.get(token, NOBODY)


def allowed(actor: Actor, verb: Verb, app: App | None) -> bool:
    """The operator may do all. Every registered key may work on every app until apps have collaborators."""
    if actor.operator:
        return True
    return actor.user is not None and (verb is not Verb.MANAGE or app is not None)


def require(actor: Actor, verb: Verb, app: App | None = None) -> None:
    """Raises Forbidden, in words that do not say whether the thing exists."""
    if not allowed(actor, verb, app):
        raise Forbidden("not an authorized user", hint="Ask the operator of this octo.")
