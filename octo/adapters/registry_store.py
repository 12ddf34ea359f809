"""The Registry as documents in the Store: the embedded default, nothing else needed."""

import platform
from collections.abc import Sequence

from octo import codec
from octo.model import Service
from octo.ports import Listed, Store

_PREFIX = "octo/services/"


class StoreRegistry:
    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, service: Service) -> None:
        self._store.put(_PREFIX + service.id, codec.dumps(service))

    def deregister(self, id: str) -> None:
        self._store.delete(_PREFIX + id)

    def services(self, name: str | None = None) -> Sequence[Service]:
        found = [codec.loads(Service, value.data) for _, value in self._store.list(_PREFIX)]
        return [s for s in found if name is None or s.name == name]

    def catalog(self) -> Sequence[Listed]:
        """There is this machine alone."""
        node = platform.node()
        return [Listed(node, s.id, s.name, s.address, s.port, s.tags) for s in self.services()]

    def failing(self) -> Sequence[str]:
        return ()  # nobody asks them

    def watch(self, since: int, timeout: float) -> int:
        return self._store.watch(_PREFIX, since, timeout)
