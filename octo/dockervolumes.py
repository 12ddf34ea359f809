"""What containers get of the host: named volumes, which outlive them, and folders that the operator allowed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from octo.engine import Engine
from octo.errors import DeployFailed
from octo.model import shown
from octo.ports import Mounted, Volume

_LABELS = {"app": "octo.volume.app", "path": "octo.volume.path", "owner": "octo.volume.owner"}


class Volumes:
    """Those of one octo, by the label that it gave them."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine, self._instance = engine, instance

    def list(self, app: str | None) -> Sequence[Volume]:
        labels = [f"octo.instance={self._instance}", *([f"{_LABELS['app']}={app}"] if app else [])]
        found = self._engine.get("volumes", query={"filters": {"label": labels}})["Volumes"] or []
        return sorted((volume(f) for f in found), key=lambda v: v.name)

    def remove(self, name: str) -> None:
        if any(v.name == name for v in self.list(None)):
            self._engine.delete("volumes", name)

    def mounts(self, wanted: Sequence[Mounted]) -> Iterator[Mapping[str, Any]]:
        """As HostConfig.Mounts has them. Raises DeployFailed for a host path that is not there, or has a link in it."""
        for mount in wanted:
            if mount.volume:
                labels = {"octo.instance": self._instance}
                labels |= {label: getattr(mount.volume, name) for name, label in _LABELS.items()}
                yield {
                    "Type": "volume",
                    "Source": mount.source,
                    "Target": mount.path,
                    "VolumeOptions": {"Labels": labels},  # of one that is made now
                }
            else:
                check_path(mount.source)
                yield {"Type": "bind", "Source": mount.source, "Target": mount.path}


def volume(found: Mapping[str, Any]) -> Volume:
    labels = found.get("Labels") or {}
    return Volume(found["Name"], *(labels.get(label, "") for label in _LABELS.values()))


def check_path(path: str) -> None:
    """Raises DeployFailed when the path is not there, or when a part of it is a symbolic link.

    Somebody who can write on the way could otherwise turn a folder that was allowed into any other.
    """
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = Path(path).parts[1:]
        for count, part in enumerate(parts, 1):
            there = str(Path("/", *parts[:count]))
            try:
                inner = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise DeployFailed(
                    f"cannot mount {shown(path)}: {shown(there)}: {error.strerror}", hint="Ask the operator to make it."
                ) from None
            os.close(folder)
            folder = inner
            if (os.fstat(folder).st_mode & 0o170000) == 0o120000:
                raise DeployFailed(
                    f"cannot mount {shown(path)}: {shown(there)} is a symbolic link",
                    hint="Ask the operator to allow the path that it leads to.",
                )
    finally:
        os.close(folder)
