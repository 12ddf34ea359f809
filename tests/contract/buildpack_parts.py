"""Buildpack builds in a real container of the stack, with a network: near to a build sandbox, by plain Docker."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.contract.docker_parts import STACK, need_stack
from tests.unit.octo.guest.runner_parts import CHECKOUT, URLS, USER, Built, Files, Place, place, tar

CA = "/etc/ssl/certs/ca-certificates.crt"
LIMITS = ["--memory=1g", "--pids-limit=512", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"]


class Box(Place):
    """A Place whose builds run in a container, with all paths where a sandbox has them."""

    def build(self, files: Files | bytes, *, env: Mapping[str, str] | None = None, **header: Any) -> Built:
        self.clean()
        head = {"mode": "buildpack", "app": "shop", "stack": "octo-test", **self.header, **header}
        sources = files if isinstance(files, bytes) else tar(files)
        self.octod.blobs.pop("slug", None)
        values = {**URLS, **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"), CA), **(env or {})}
        argv = ["docker", "run", "--rm", "-i", *LIMITS, f"--user={USER}:{USER}", "--tmpfs=/tmp:noexec,mode=1777"]
        argv += [f"--volume={self.root}/{name}:/{name}" for name in ("app", "work")]
        argv += [f"--volume={self.root}/{name}:/{name}:ro" for name in ("octo", "octo-buildpacks", "run/octo")]
        argv += [f"--env={k}={v}" for k, v in {**values, "HOME": "/app", "REQUEST_ID": "r1"}.items()]
        done = subprocess.run(
            [*argv, STACK, "python3", "-I", "-S", "/octo/buildpack_runner.py"],
            input=json.dumps(head).encode() + b"\n" + sources,
            capture_output=True,
            check=False,
            timeout=600,
        )
        said = done.stderr.decode("utf-8", "replace")
        return Built(done.returncode, said, done.stdout, self.octod.blobs.get("slug", b""))

    def in_stack(self, files: Mapping[str, bytes], command: str) -> bytes:
        """What a command prints in a container with a network and these files."""
        self.clean()
        for name, content in files.items():
            (self.root / "app" / name).write_bytes(content)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", self.root / "app"], check=True)
        argv = ["docker", "run", "--rm", f"--user={USER}:{USER}", f"--volume={self.root}/app:/app", "--workdir=/app"]
        argv += ["--env=HOME=/tmp", "--env=TMPDIR=/tmp", STACK, "bash", "-c", command]
        return subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=300).stdout

    def run(self, slug: bytes, command: str, *, env: Mapping[str, str] | None = None) -> str:
        """Run a command in a container that has the slug as its /app, as the app's user; what it says."""
        subprocess.run(["rm", "-rf", str(self.root / "run-app")], check=True)
        (self.root / "run-app").mkdir()
        archive = self.root / "slug.tgz"
        archive.write_bytes(slug)
        subprocess.run(["tar", "-xzpf", archive, "-C", self.root / "run-app", "--numeric-owner"], check=True)
        start = 'for f in /app/.profile.d/*.sh; do [ -r "$f" ] && . "$f"; done; cd /app && eval "$1"'
        argv = ["docker", "run", "--rm", "--network=none", "--user=59205:59205", "--env=HOME=/app"]
        argv += [f"--env={k}={v}" for k, v in (env or {}).items()]
        argv += [f"--volume={self.root}/run-app/app:/app", STACK, "bash", "-c", start, "bash", command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        return done.stdout + done.stderr


@contextmanager
def box() -> Iterator[Box]:
    """A fresh box with octo's own buildpacks."""
    need_stack()
    with place(CHECKOUT / "buildpacks") as here:
        os.chmod(here.root / "run/octo", 0o755)
        yield Box(here.root, here.octod)
