"""octo's own settings: defaults, then octo.toml, then OCTO_* variables; the last word wins."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from octo import octohost
from octo.errors import Usage
from octo.model import hostname, port_number

CHECKOUT = Path(__file__).resolve().parent.parent
SYSTEM_FILE = Path("/etc/octo/octo.toml")
LARGEST = 1024 * 1024  # bytes of octohost's file
MB = 1024 * 1024
STORES = ("sqlite", "consul")


@dataclass(frozen=True)
class Settings:
    home: Path = Path(".octo")  # everything of the embedded profile lies under here
    instance: str = "octo"  # name of networks, labels and containers; two octos on one engine need two
    listen: str = "127.0.0.1"  # address of the SSH and HTTP doors; 0.0.0.0 for all
    ssh_port: int = 2222
    http_port: int = 8080
    https_port: int = 0  # 0: no https
    domain_suffix: str = "localhost"
    domain_suffixes: tuple[str, ...] = ()  # more of them: each app is served under NAME.SUFFIX of all
    link_prefix: str = "http"  # or https: how people are told where an app is
    templates: Path = Path("templates")  # folder of what NGINX_ALT may name; relative to home
    certificates: tuple[str, ...] = ("certificates",)  # folders of what SSL_CERTIFICATE and SSL_KEY may name
    engine: Path = Path("/var/run/docker.sock")
    subnet: str = "10.213.0.0/20"  # of the apps' network; octo allots its addresses
    link_network: str = "10.214.0.0/16"  # each link between two apps gets a /24 of it
    stack: str = "octo"  # name of the default stack
    stacks: Path = Path("stacks")  # where the stacks' trees lie; relative to home
    stack_packages: tuple[str, ...] = ()  # Debian packages for the stacks beside octo's own list
    suite: str = ""  # of the stacks; "" is the host's own
    mirror: str = ""  # "" is that of the host's apt sources
    extra_ca: str = ""  # PEM file that goes into the stacks, for hosts behind a TLS-intercepting proxy
    sandbox: str = "auto"  # auto, lxc or docker
    store: str = "sqlite"  # or consul: where octo keeps all that it knows
    registry: str = ""  # store or consul: where services are made known; "" is consul when the store is
    consul: str = "http://127.0.0.1:8500"  # https:// and unix:///SOCKET too
    consul_token: str = field(default="", repr=False)  # for the access control of Consul
    consul_token_file: str = ""  # or a file that holds it
    consul_ca: str = ""  # PEM file of the authority of an https:// one; "" is those that the host trusts
    consul_datacenter: str = ""  # "" is the agent's own
    consul_prefix: str = "octohost"  # config lies under PREFIX/APP/KEY; "" is the root, as octohost had it first
    consul_patience: float = 15  # seconds that a call waits for a Consul that has just gone, as for a new leader
    config_watch: bool = True  # config that somebody else writes into the store becomes a release at once
    config_settle: float = 2  # seconds without another such change that are waited for
    consul_documents: str = "octo"  # the prefix of everything else; two octos on one Consul need two
    blobs: str = ""  # where slugs, caches and the like lie: file:///FOLDER; "" is the folder blobs of home
    repositories: str = "mount"  # or bundle: an archive that is fetched for a push and stored after it
    builder: str = "auto"  # auto, buildkit or classic
    build_engine: Path = Path("engine")  # folder of the engine that builds Dockerfiles; relative to home
    build_engine_idle: float = 900  # seconds without a build after which it is stopped
    build_engine_disk_gb: int = 20  # all its images and caches together
    build_bases: tuple[str, ...] = ("octo/stack",)  # local images that Dockerfiles may be FROM, by repository
    build_args: tuple[str, ...] = ()  # config keys handed to Dockerfile builds as --build-arg
    build_network: str = "10.212.0.0/20"  # subnet of the builds
    build_ports: tuple[str, ...] = ("80", "443")  # TCP ports of the internet that builds reach
    build_reach: tuple[str, ...] = ()  # private networks that builds reach all the same, as 10.1.0.0/16
    build_org: str = "octoprod"  # images that octo is to start from, or pulls, are called BUILD_ORG/APP
    private_registry: str = ""  # HOST[:PORT][/PATH] where images go after a deploy
    registry_login: Path = Path("/root/.docker/config.json")  # as `docker login` writes it
    registry_seconds: float = 600  # of one transfer
    share: Path = CHECKOUT  # where templates/, buildpacks/, lxc/ and octo/guest/ lie
    branches: tuple[str, ...] = ("apps",)  # apps: each is an app of its own; off: main and master deploy; or a list
    branch_config: str = "copy"  # a branch's app begins with the config of its app; or none
    branch_grace: float = 3600  # seconds between the end of a branch and that of its app; 0: at once
    receiver: str = ""  # a program that takes each push in place of octo's build and deploy, by its whole path
    ssh_config: str = ""  # the file that move:sites has ssh read; "" is root's own

    # What comes from octohost, whose own file sets them too.
    octohost_file: Path = Path("/etc/default/octohost")  # read, never run; octo.toml and OCTO_* win over it
    plugins: Path = Path("/usr/local/octohost/plugins")  # beside the folder plugins of home
    email_notification: str = ""  # address that hears of deploys that failed
    sendmail: str = "/usr/sbin/sendmail"  # the program that sends it
    logspout_target: str = ""  # syslog://HOST:PORT or syslog+tcp://HOST:PORT that the apps' logs are shipped to
    remote_syslog_destination: str = ""  # host that nginx's and the apps' logs are shipped to, over UDP
    remote_syslog_port: str = ""  # and its port

    push_seconds: float = 1800  # wall clock of one push
    push_memory_mb: int = 512
    push_wait: float = 600  # seconds a push waits for another one to the same app
    push_mb: int = 1024  # bytes that one push may bring in
    build_seconds: float = 900
    build_memory_mb: int = 1024
    build_cpus: float = 1.0
    build_pids: int = 512
    build_disk_mb: int = 2048
    build_files: int = 300_000
    build_tmp_mb: int = 512
    build_open_files: int = 4096
    build_output_mb: int = 10
    build_queue: int = 0  # builds at once; 0 is twice the cores
    build_queue_length: int = 500  # builds that may wait
    fetch_seconds: float = 90  # of one try to fetch a buildpack, of three
    plain_fetch: bool = False  # buildpacks may come by http:// and git:// too
    slug_mb: int = 200
    cache_mb: int = 1024  # of one app
    free_disk_mb: int = 1024  # a push is refused when less is free
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
    given = {**_of_octohost(Path(given.get("octohost_file", Settings.octohost_file))), **given}
    settings = replace(Settings(), **{k: _value(k, v) for k, v in given.items()})
    home = settings.home.resolve()
    return _checked(
        replace(
            settings,
            home=home,
            stacks=home / settings.stacks,
            build_engine=home / settings.build_engine,
            templates=home / settings.templates,
            certificates=tuple(str(home / folder) for folder in settings.certificates),
        )
    )


def read_octohost(file: Path) -> octohost.HostFile:
    """octohost's own settings; an absent or unreadable file has none."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return octohost.parse(opened.read(LARGEST))
    except OSError:
        return octohost.HostFile()


def _of_octohost(file: Path) -> dict[str, str]:
    """What octohost's file sets, each by itself: a line that octo cannot use must not keep it from starting."""
    taken = {}
    for name, text in octohost.settings_of(read_octohost(file)).items():
        try:
            _checked(replace(Settings(home=Path("/")), **{name: _value(name, text)}))
        except Usage:
            continue
        taken[name] = text
    return taken


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
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
        if kind is bool:
            return _BOOLEANS[str(given).lower()]
        if kind == tuple[str, ...]:
            return tuple(w for w in given.split(",") if w) if isinstance(given, str) else tuple(map(str, given))
        return kind(given)  # type: ignore[operator]
    except (TypeError, ValueError, KeyError):
        raise Usage(f'cannot use the setting "{name}": {given!r} is not of its kind') from None


def _checked(settings: Settings) -> Settings:
    for port in (str(settings.ssh_port), str(settings.http_port), *settings.build_ports):
        port_number(port)
    if settings.https_port:
        port_number(str(settings.https_port))
    for suffix in (settings.domain_suffix, *settings.domain_suffixes):
        _suffix(suffix)
    _one_of("link_prefix", settings.link_prefix, ("http", "https"))
    _one_of("builder", settings.builder, ("auto", "buildkit", "classic"))
    _one_of("repositories", settings.repositories, ("mount", "bundle"))
    if settings.remote_syslog_port:
        port_number(settings.remote_syslog_port)
    _one_of("sandbox", settings.sandbox, ("auto", "lxc", "docker"))
    _one_of("store", settings.store, STORES)
    _one_of("registry", settings.registry or "store", ("store", "consul"))
    _one_of("branch_config", settings.branch_config, ("copy", "none"))
    if not settings.branches:
        raise Usage('cannot use the setting "branches": it names none', hint='Say "off" for main and master alone.')
    _prefixes(settings.consul_prefix, settings.consul_documents)
    _network("subnet", settings.subnet)
    _network("build_network", settings.build_network)
    _network("link_network", settings.link_network)
    for network in settings.build_reach:
        _network("build_reach", network)
    if len(str(settings.run / "rx" / ("0" * 12) / "octo.sock")) > 107:
        raise Usage(
            f'cannot use "{settings.home}" as home: its path is too long for a Unix socket',
            hint="Set OCTO_HOME to a shorter path.",
        )
    return settings


def _suffix(given: str) -> None:
    if given != "localhost" and hostname(given) != given:
        raise Usage(f'cannot use "{given}" as a domain suffix: it is "{hostname(given)}"')


def _one_of(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise Usage(f'cannot use the setting "{name}": "{given}" is not {", ".join(known[:-1])} or {known[-1]}')


def _prefixes(config: str, documents: str) -> None:
    """No app's config may lie among octo's documents: there an app's removal would find them."""
    for name, given in (("consul_prefix", config), ("consul_documents", documents)):
        if given and not all(re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]", word) for word in given.split("/")):
            raise Usage(f'cannot use the setting "{name}": "{given}" is not words with slashes between them')
    if not documents or config == documents or config.startswith(f"{documents}/"):
        raise Usage('cannot use the setting "consul_documents": it has to be apart from consul_prefix')
    if documents.startswith(f"{config}/" if config else "") and not documents[len(config) :].startswith(("/.", ".")):
        raise Usage(
            f'cannot use the setting "consul_documents": under "{config}" an app could be called "{documents}"',
            hint='Begin it with a dot: consul_documents = ".octo".',
        )


def _network(name: str, given: str) -> None:
    try:
        IPv4Network(given)
    except ValueError as error:
        raise Usage(f'cannot use the setting "{name}": {error}') from None
