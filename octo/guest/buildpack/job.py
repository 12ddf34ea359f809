"""The order that octod gives a build sandbox: one line of JSON, and where everything lies."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MB = 1024 * 1024
MAX_HEADER = 16 * MB  # bytes
BUILT_IN = ("python", "nodejs", "static", "procfile")  # in the order in which they are asked
KEPT = "LANG REQUEST_ID SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE GIT_SSL_CAINFO"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Refused(Exception):
    """The build cannot go on for a reason that the pusher can mend; `hints` are further lines."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.lines = (message, *hints)


class Submodule(NamedTuple):
    path: str
    commit: str
    url: str | None  # None: its files are in the sources already


class Job(NamedTuple):
    """The header's fields; the docstring of buildpack_runner.py says what they mean."""

    mode: str
    app: str
    commit: str
    stack: str
    config: Mapping[str, str]
    buildpacks: Sequence[str]
    submodules: Sequence[Submodule]
    fetch_seconds: float
    detect_seconds: float
    compile_seconds: float
    slug_mb: float
    cache_mb: float
    insecure_fetch: bool
    procfile_required: bool
    root: str  # "" but in tests: what goes before every path

    @property
    def source(self) -> str:
        return f"{self.root}/app"

    @property
    def work(self) -> str:
        return f"{self.root}/work"

    @property
    def cache(self) -> str:
        return f"{self.work}/cache"

    @property
    def built_in(self) -> str:
        return f"{self.root}/octo-buildpacks"

    @property
    def socket(self) -> str:
        return f"{self.root}/run/octo/octo.sock"

    def environment(self) -> dict[str, str]:
        """What buildpacks see: nothing of octod's, and temporary files on the disk, as /tmp counts as memory."""
        given = {name: os.environ[name] for name in KEPT.split() if name in os.environ}
        own = {"HOME": self.source, "STACK": self.stack, "SOURCE_VERSION": self.commit, "TMPDIR": f"{self.work}/tmp"}
        return {"LANG": "C.UTF-8", **given, "PATH": os.environ.get("PATH", PATH), **own}


def read(line: bytes) -> Job:
    """Raises ValueError, KeyError or TypeError for what is no header: octod's bug, not the pusher's."""
    header: dict[str, Any] = json.loads(line)
    if header["mode"] not in ("buildpack", "source"):
        raise ValueError(f"mode {header['mode']!r} is unknown")
    return Job(
        mode=header["mode"],
        app=header.get("app", "APP"),
        commit=header.get("commit", ""),
        stack=header.get("stack", "octo"),
        config={k: str(v) for k, v in header.get("config", {}).items() if _KEY.fullmatch(k)},
        buildpacks=[str(url) for url in header.get("buildpacks", [])],
        submodules=[Submodule(*entry) for entry in header.get("submodules", [])],
        fetch_seconds=float(header.get("fetch_seconds", 90)),
        detect_seconds=float(header.get("detect_seconds", 15)),
        compile_seconds=float(header.get("compile_seconds", 900)),
        slug_mb=float(header.get("slug_mb", 200)),
        cache_mb=float(header.get("cache_mb", 1024)),
        insecure_fetch=header.get("insecure_fetch", False) is True,
        procfile_required=header.get("procfile_required", True) is True,
        root=header.get("root", ""),
    )
