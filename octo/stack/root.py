"""The root file system of a stack: debootstrap, one run of apt in it, users, certificates."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from platform import freedesktop_os_release
from urllib.parse import urlsplit

from octo import process
from octo.errors import BuildFailed, Usage
from octo.stack.aptsources import FORMAT, Archive, Source, choose, own, package_names
from octo.stack.tree import APP_UID, tidy, write
from octo.stack.work import Output, Work

PACKAGES = tuple(
    "ca-certificates git curl jq unzip xz-utils zstd isal procps file build-essential pkg-config"
    " python3 python3-dev python3-venv python3-pip nodejs npm".split()
)
MADE_BY = ("root.py", "tree.py", "image.py")  # what is changed there may change every stack
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
LOCAL = "usr/local/share/ca-certificates"
SCRIPTS = Path("/usr/share/debootstrap/scripts")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
INSTALL = ("apt-get", "-q", "-y", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0")

# dpkg leaves out what nobody reads in a container, and need not wait for the disk.
DPKG = """force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
"""
APT = 'APT::Keep-Downloaded-Packages "false";\nAcquire::Languages "none";\n'
NO_SERVICES = "#!/bin/sh\n# A container has no services: invoke-rc.d(8) asks here before it starts one.\nexit 101\n"


@dataclass(frozen=True)
class Plan:
    """What a stack is to be made of."""

    recipe: Mapping[str, str]  # suite, mirror, packages, as they came out
    archive: Archive
    packages: tuple[str, ...]
    key: str  # another one where something else would come of the same archive


@dataclass(frozen=True)
class Debootstrap:
    """suite, mirror, packages, extra_ca: of all stacks. environ: octo's, for proxies and apt's configuration."""

    suite: str
    mirror: str
    packages: Sequence[str]
    extra_ca: str
    build_uid: int
    environ: Mapping[str, str]
    base: Sequence[str] = PACKAGES

    def plan(self, given: Mapping[str, str]) -> Plan:
        """given: what this stack has of its own: suite, mirror, packages. Raises Usage."""
        suite, mirror = given.get("suite") or self.suite, given.get("mirror") or self.mirror
        codename = freedesktop_os_release().get("VERSION_CODENAME", "")
        universe = (SCRIPTS / suite).resolve().name == "gutsy"
        archive = choose(self._sources(suite or codename), codename, suite=suite, mirror=mirror, universe=universe)
        asked = (*package_names(",".join(self.packages)), *package_names(given.get("packages", "")))
        packages = tuple(dict.fromkeys((*self.base, *asked)))
        key = _digest(json.dumps([archive.mirror, *packages, *self._frame(archive)]).encode())[:12]
        recipe = {"suite": archive.suite, "mirror": archive.mirror, "packages": ",".join(asked)}
        return Plan(recipe, archive, packages, key)

    def make(self, plan: Plan, root: Path, output: Output) -> tuple[str, int]:
        """Make the tree. Returns its content in words, the same for the same, and its bytes. Raises BuildFailed."""
        work = Work(root, output, self._proxies())
        with work.step(f"Bootstrapping {plan.archive.suite} from {without_password(plan.archive.mirror)}"):
            self._bootstrap(work, plan.archive)
        with work.step(f"Installing {len(plan.packages)} packages, what they need, and the security updates"):
            self._install(work, plan)
        with work.step("Adding the users and the host's certificates"):
            self._finish(work)
            size = tidy(root)
        return "\n".join([*self._frame(plan.archive), *_installed(root)]), size

    def _bootstrap(self, work: Work, archive: Archive) -> None:
        write(work.root, {"etc/dpkg/dpkg.cfg.d/octo": DPKG})
        hint = f"Check that this host reaches {without_password(archive.mirror)}, or set OCTO_MIRROR."
        script = str(_script(archive.suite))
        work.debootstrap("--variant=minbase", archive.suite, str(work.root), archive.mirror, script, hint=hint)

    def _install(self, work: Work, plan: Plan) -> None:
        lines = "".join(f"{s.line}\n" for s in plan.archive.sources)
        write(work.root, {"etc/apt/sources.list": lines, "etc/apt/apt.conf.d/octo": APT})
        write(work.root, {"usr/sbin/policy-rc.d": NO_SERVICES}, mode=0o755)
        (work.root / BUNDLE).parent.mkdir(parents=True, exist_ok=True)
        (work.root / BUNDLE).write_bytes(self._authorities())  # for mirrors that are reached by https
        try:
            work.chroot(*INSTALL, "-o", "APT::Update::Error-Mode=any", "update")
        except BuildFailed as error:
            work.tell(f"Warning: going on without what apt cannot read: {error.message}")
            work.chroot(*INSTALL, "update", hint="Check that this host reaches its own apt sources.")
        # dist-upgrade takes names too: the updates and the packages in one run of dpkg, 5 s sooner than in two.
        work.chroot(*INSTALL, "--no-install-recommends", "dist-upgrade", *plan.packages)

    def _finish(self, work: Work) -> None:
        for name, uid in (("app", APP_UID), ("build", self.build_uid)):
            words = ("--uid", str(uid), "--user-group", "--no-create-home", "--home-dir", "/app")
            work.chroot("useradd", *words, "--shell", "/bin/bash", name)
        # In both places: a later update-ca-certificates writes the bundle anew.
        (work.root / BUNDLE).write_bytes(self._authorities())
        local = work.root / LOCAL
        local.mkdir(parents=True, exist_ok=True)
        for file in Path("/", LOCAL).glob("**/*.crt"):
            shutil.copyfile(file, local / file.name)
        if self.extra_ca:
            shutil.copyfile(self.extra_ca, local / "octo-extra.crt")

    def _frame(self, archive: Archive) -> Sequence[str]:
        """All that is in the tree beside its packages, in words."""
        machine = process.run(["dpkg", "--print-architecture"]).text
        users = f"app {APP_UID} build {self.build_uid}"
        return [_own_text(), machine, _digest(self._authorities()), users, *(s.line for s in archive.sources)]

    def _authorities(self) -> bytes:
        """Whom the stack trusts: those whom its host trusts, and extra_ca."""
        try:
            extra = b"\n" + Path(self.extra_ca).read_bytes() if self.extra_ca else b""
        except OSError as error:
            raise Usage(
                f'cannot read the extra_ca "{self.extra_ca}": {error.strerror}',
                hint="Set OCTO_EXTRA_CA to a PEM file, or to nothing.",
            ) from None
        host = Path("/", BUNDLE)
        return (host.read_bytes() if host.exists() else b"") + extra

    def _sources(self, suite: str) -> tuple[Source, ...]:
        """The host's own. Lists that were never downloaded are asked for only when need be: apt takes 0.7 s."""
        listed = [self._apt("apt-get", "indextargets", "--format", FORMAT), ""]
        if not re.search(rf"^Packages \S+ {re.escape(suite)} ", listed[0], re.MULTILINE):
            listed[1] = self._apt("apt-get", "indextargets", "--no-release-info", "--format", FORMAT)
        behind = {uri: _first_of(uri) for uri in re.findall(r"mirror\+file:\S+", "\n".join(listed))}
        return own(listed[0], listed[1], behind)

    def _proxies(self) -> Mapping[str, str]:
        """The host's own, from the environment or from apt's configuration."""
        given = {k: v for k, v in self.environ.items() if k in PROXIES}
        lines = re.findall(
            r'^Acquire::(https?)::Proxy "(\w+://[^"]+)";$', self._apt("apt-config", "dump"), re.MULTILINE
        )
        return given | {f"{kind}_proxy": url for kind, url in lines}

    def _apt(self, *argv: str) -> str:
        env = {k: v for k, v in self.environ.items() if k == "APT_CONFIG"}
        return process.run(argv, env={"LC_ALL": "C.UTF-8", **env}).out.decode("utf-8", "replace")


def without_password(url: str) -> str:
    """For people to read."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _installed(root: Path) -> Sequence[str]:
    form = "${Package}:${Architecture}=${Version}\n"
    found = process.run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form])
    if found.code:
        raise BuildFailed(f"cannot list the packages of the stack: {found.text}")
    return sorted(found.out.decode().splitlines())


def _script(suite: str) -> Path:
    """How debootstrap goes about it: a release newer than it is made like the newest that it knows."""
    known = SCRIPTS / suite
    return known if known.exists() else SCRIPTS / ("gutsy" if freedesktop_os_release()["ID"] == "ubuntu" else "sid")


def _first_of(uri: str) -> str:
    """The first mirror of a list that a `mirror+file:` URI names. Source: apt-transport-mirror(1)."""
    try:
        lines = Path(os.sep + uri.partition(":")[2].lstrip("/")).read_text().split("\n")
    except OSError:
        return uri
    return next((words[0] for words in map(str.split, lines) if words and not words[0].startswith("#")), uri)


@cache
def _own_text() -> str:
    return _digest(b"".join(Path(__file__).with_name(name).read_bytes() for name in MADE_BY))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
