"""ImageRegistry through the Docker engine, which speaks with the registry; its rights are those of `docker login`."""

import base64
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octo.engine import Engine, Query
from octo.errors import NotFound, OctoError, Unavailable

LAST = "latest"


class DockerImages:
    """registry: HOST[:PORT][/PATH], "" for none. login: a config.json as docker writes it. seconds: of one transfer."""

    def __init__(self, engine: Engine, *, registry: str, org: str, login: Path, seconds: float) -> None:
        self._engine, self._org, self._login, self._seconds = engine, org, login, seconds
        self.at = registry

    def local(self, name: str) -> str:
        return f"{self._org}/{name}:{LAST}"

    def push(self, image: str, name: str, tags: Sequence[str]) -> None:
        repository = self._repository(name)
        for tag in tags:
            self._engine.post("images", image, "tag", query={"repo": repository, "tag": tag})
            try:
                self._transfer(f"push {name} to", "images", repository, "push", query={"tag": tag})
            finally:
                self._untag(f"{repository}:{tag}")

    def pull(self, name: str) -> str:
        repository = self._repository(name)
        source = f"{repository}:{LAST}"
        self._transfer(f"pull {name} from", "images", "create", query={"fromImage": repository, "tag": LAST})
        found = self._engine.find("images", source, "json")
        if found is None:
            raise NotFound(f"cannot pull {name} from {self.at}: it has no such image")
        org, _, tag = self.local(name).rpartition(":")
        self._engine.post("images", found["Id"], "tag", query={"repo": org, "tag": tag})
        self._untag(source)
        return str(found["Id"])

    def _repository(self, name: str) -> str:
        if not self.at:
            raise Unavailable(
                "This feature requires a private registry.", hint="Set private_registry in octo's settings."
            )
        return f"{self.at}/{name}"

    def _untag(self, ref: str) -> None:
        self._engine.delete("images", ref, query={"noprune": True})

    def _transfer(self, what: str, *path: str, query: Query) -> None:
        """Wait for a transfer to end. The engine tells how it went in the last of many lines."""
        try:
            stream = self._engine.stream("POST", *path, query=query, headers={"X-Registry-Auth": self._auth()})
        except OctoError as error:
            raise Unavailable(f"cannot {what} {self.at}: {error.message}") from None
        late = threading.Timer(self._seconds, stream.close)
        late.start()
        try:
            last = [line for line in stream.lines() if isinstance(line, dict)]
        finally:
            late.cancel()
        failed = next((line["error"] for line in last if "error" in line), "")
        if late.finished.is_set() and not failed and not _complete(last):
            failed = f"it took longer than {self._seconds:g} s"
        if failed:
            raise Unavailable(
                f"cannot {what} {self.at}: {failed}", hint="Look whether the registry is up, and lets octo in."
            )

    def _auth(self) -> str:
        """The header of the engine's API: base64url of {username, password, serveraddress}; {} for nobody."""
        host = self.at.split("/")[0]
        try:
            known = json.loads(self._login.read_text()).get("auths", {})
        except (OSError, ValueError, AttributeError):
            known = {}
        given = known.get(host) or known.get(f"https://{host}") or {}
        user, _, password = base64.b64decode(given.get("auth", "")).decode("utf-8", "replace").partition(":")
        auth: dict[str, Any] = {"username": user, "password": password, "serveraddress": host} if user else {}
        return base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()


def _complete(lines: Sequence[dict[str, Any]]) -> bool:
    """Whether the engine said how it ended: the digest of what was pushed, or the status of what was pulled."""
    end = lines[-1] if lines else {}
    return "aux" in end or str(end.get("status", "")).startswith(("Status: ", "Digest: "))
