"""A real registry of images on loopback, for as long as a `with`."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt


@dataclass
class ImageRegistry:
    port: int
    login: Path  # a config.json that opens it
    process: "subprocess.Popen[bytes]"

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    def tags(self, name: str) -> list[str]:
        auth = json.loads(self.login.read_text())["auths"][self.at]["auth"]
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as link:
            link.request("GET", f"/v2/{name}/tags/list", headers={"Authorization": f"Basic {auth}"})
            found = json.loads(link.getresponse().read())
        return sorted(found.get("tags") or [])


@contextmanager
def registry() -> Iterator[ImageRegistry]:
    """One that asks for a user and a password."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is missing: sudo ./setup test"
    with tempfile.TemporaryDirectory(prefix="octo-registry-") as name:
        folder = Path(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        secret = bcrypt.hashpw(b"pass:word", bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"ann:{secret}\n")
        auths = {f"127.0.0.1:{port}": {"auth": "YW5uOnBhc3M6d29yZA=="}}
        (folder / "login.json").write_text(json.dumps({"auths": auths}))
        settings = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "auth": {"htpasswd": {"realm": "octo", "path": str(folder / "htpasswd")}},
        }
        (folder / "registry.yml").write_text(json.dumps(settings))  # JSON is YAML
        argv = [program, "serve", str(folder / "registry.yml")]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
            try:
                _wait(port, process)
                yield ImageRegistry(port, folder / "login.json", process)
            finally:
                process.kill()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            continue
    assert process.stderr
    raise AssertionError(f"docker-registry did not start: {process.stderr.read().decode()}")
