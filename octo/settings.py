"""octo's own settings: defaults, then octo.toml, then OCTO_* variables; the last word wins."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from octo.errors import Usage
from octo.model import hostname, port_number

CHECKOUT = Path(__file__).resolve().parent.parent
SYSTEM_FILE = Path("/etc/octo/octo.toml")
MB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    home: Path = Path(".octo")  # everything of the embedded profile lies under here
    instance: str = "octo"  # name of networks, labels and containers; two octos on one engine need two
    listen: str = "127.0.0.1"  # address of the SSH and HTTP doors; 0.0.0.0 for all
    ssh_port: int = 2222
    http_port: int = 8080
    domain_suffix: str = "localhost"
    engine: Path = Path("/var/run/docker.sock")
    subnet: str = "10.213.0.0/20"  # of the apps' network; octo allots its addresses
    stack: str = "octo/stack:latest"  # image of the receivers
    extra_ca: str = ""  # PEM file that ./setup puts into the stack image, for hosts behind a TLS-intercepting proxy
    builder: str = "auto"  # auto, buildkit or classic
    share: Path = CHECKOUT  # where templates/ and octo/guest/ lie
    branches: tuple[str, ...] = ("main", "master")  # the ones that deploy

    push_seconds: float = 1800  # wall clock of one push
    push_memory_mb: int = 512
    push_wait: float = 600  # seconds a push waits for another one to the same app
    build_seconds: float = 900
    build_memory_mb: int = 1024
    build_cpus: float = 1.0
    build_output_mb: int = 10
    boot_seconds: float = 60  # for web to answer
    settle_seconds: float = 2  # that other process types must stay up
    drain_seconds: float = 60
    grace_seconds: float = 10  # between SIGTERM and SIGKILL
    keep_releases: int = 5  # whose images stay for rollback

    # Unprivileged users, by number: nothing is added to /etc/passwd.
    door_uid: int = 59201
    nginx_uid: int = 59202
    command_uid: int = 59203
    sandbox_uid: int = 59204
    git_user: str = ""  # the user that sshd runs gitreceive as, when OpenSSH is the door

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def command_socket(self) -> Path:
        return self.run / "octo.sock"

    @property
    def door_socket(self) -> Path:
        return self.run / "door.sock"


def load(environ: Mapping[str, str], *, file: Path | None = None) -> Settings:
    """Read the settings. Raises Usage for an unknown name or a value of the wrong kind, naming both.

    file: None means OCTO_SETTINGS, else octo.toml in the home, else /etc/octo/octo.toml, whichever exists.
    """
    home = Path(environ.get("OCTO_HOME", ".octo")).resolve()
    named = file or (Path(environ["OCTO_SETTINGS"]) if environ.get("OCTO_SETTINGS") else None)
    found = named or next((f for f in (home / "octo.toml", SYSTEM_FILE) if f.is_file()), None)
    given: dict[str, Any] = _toml(found) if found else {}
    for name, text in environ.items():
        if name.startswith("OCTO_") and name.removeprefix("OCTO_").lower() in _KINDS:
            given[name.removeprefix("OCTO_").lower()] = text
    settings = replace(Settings(), **{k: _value(k, v) for k, v in given.items()})
    return _checked(replace(settings, home=settings.home.resolve()))


_KINDS = {f.name: f.type for f in fields(Settings)}


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Usage(f'cannot read settings from "{file}": {error}') from None


def _value(name: str, given: Any) -> Any:
    kind = _KINDS.get(name)
    if kind is None:
        raise Usage(f'cannot use the setting "{name}": octo has none of that name')
    try:
        if kind == tuple[str, ...]:
            return tuple(given.split(",")) if isinstance(given, str) else tuple(map(str, given))
        return kind(given)  # type: ignore[operator]
    except (TypeError, ValueError):
        raise Usage(f'cannot use the setting "{name}": {given!r} is not of its kind') from None


def _checked(settings: Settings) -> Settings:
    for port in (settings.ssh_port, settings.http_port):
        port_number(str(port))
    if settings.domain_suffix != "localhost":
        hostname(settings.domain_suffix)
    if settings.builder not in ("auto", "buildkit", "classic"):
        raise Usage(f'cannot use the setting "builder": "{settings.builder}" is not auto, buildkit or classic')
    try:
        IPv4Network(settings.subnet)
    except ValueError as error:
        raise Usage(f'cannot use the setting "subnet": {error}') from None
    if len(str(settings.run / "rx" / ("0" * 12) / "octo.sock")) > 107:
        raise Usage(
            f'cannot use "{settings.home}" as home: its path is too long for a Unix socket',
            hint="Set OCTO_HOME to a shorter path.",
        )
    return settings
