"""A whole octo for the stories: octod on loopback with a folder, ports, a network and a name of its own."""

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.build_engine import ENGINE_FOLDER, STACKS

CHECKOUT = Path(__file__).resolve().parents[2]
GIT = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@octo.test",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@octo.test",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
SANDBOXES = ("build", "receive")  # as their control groups are called
PATH = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")


def free_place() -> tuple[int, IO[str]]:
    """A number that no other octo of any test run has now, and the lock that holds it until it is closed."""
    for number in range(16):
        lock = Path(f"/tmp/octo-story-{number}.lock").open("w")  # noqa: SIM115 - held as long as the octo
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return number, lock
    raise AssertionError("16 octos are being tested already")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Host:
    """octod, started and killed at will; its apps and nginx go on meanwhile."""

    def __init__(self, **settings: str) -> None:
        number, self._place = free_place()
        self.home = Path(tempfile.mkdtemp(prefix="octo-story-", dir="/tmp"))
        self.home.chmod(0o755)
        self.instance = f"octo-s{number}"
        self.ssh_port, self.http_port = free_port(), free_port()
        self.https_port = free_port()
        self.env = {
            "PATH": PATH,
            "OCTO_HOME": str(self.home / "octo"),
            "OCTO_INSTANCE": self.instance,
            "OCTO_SUBNET": f"10.220.{16 * number}.0/20",
            "OCTO_BUILD_NETWORK": f"10.219.{16 * number}.0/20",
            "OCTO_LINK_NETWORK": f"10.221.{16 * number}.0/20",
            "OCTO_BUILD_ENGINE": str(ENGINE_FOLDER),
            "OCTO_STACKS": str(STACKS),
            "OCTO_SSH_PORT": str(self.ssh_port),
            "OCTO_HTTP_PORT": str(self.http_port),
            "OCTO_HTTPS_PORT": str(self.https_port),
            "OCTO_BOOT_SECONDS": "15",
            "OCTO_SETTLE_SECONDS": "0.5",
            "OCTO_DRAIN_SECONDS": "20",
            "OCTO_GRACE_SECONDS": "3",
            **settings,
        }
        self.daemon: subprocess.Popen[bytes] | None = None
        self.key = self.new_key("ann")

    # --- octod ---

    def start(self) -> None:
        """Start octod, and return when it serves; it says so as it would to systemd."""
        told = self.home / "notify"
        told.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (self.home / "octod.log").open("ab") as log:
            ready.bind(str(told))
            ready.settimeout(120)
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "octo.daemon"],
                env={**self.env, "NOTIFY_SOCKET": str(told)},
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
            try:
                assert ready.recv(100) == b"READY=1"
            except TimeoutError:
                raise AssertionError(f"octod did not start:\n{self.log()}") from None

    def kill(self) -> None:
        """kill -9, as a power cut of octod alone."""
        assert self.daemon
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def stop(self) -> None:
        assert self.daemon
        self.daemon.send_signal(signal.SIGTERM)
        assert self.daemon.wait() == 0, self.log()

    def down(self) -> None:
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait()
        subprocess.run([sys.executable, "-m", "octo.daemon", "down"], env=self.env, cwd=CHECKOUT, check=True)
        shutil.rmtree(self.home)
        shutil.rmtree(f"/run/lxc/lock{self.home}", ignore_errors=True)  # empty folders, LXC's own
        self._place.close()

    def log(self) -> str:
        return (self.home / "octod.log").read_text()

    # --- people ---

    def octo(self, *words: str, given: str = "", code: int | None = 0, cwd: Path | None = None) -> str:
        """Run the `octo` command, and return what it prints. code: the exit code it must have; None: any."""
        argv = [str(CHECKOUT / "bin" / "octo"), *words]
        done = subprocess.run(
            argv, env=self.env, input=given, capture_output=True, text=True, cwd=cwd or self.home, check=False
        )
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.octo(*words, "--format", "json"))

    def new_key(self, name: str) -> Path:
        file = self.home / f"key-{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
        return file

    def ssh_command(self, key: Path | None = None) -> str:
        known = self.home / "known_hosts"
        return (
            f"ssh -F none -i {key or self.key} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes "
            f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR"
        )

    def ssh(self, *words: str, key: Path | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
        argv = [*self.ssh_command(key).split(), "-p", str(self.ssh_port), "git@127.0.0.1", *words]
        return subprocess.run(argv, input=given, capture_output=True, text=True, env={"PATH": PATH}, check=False)

    def url(self, app: str) -> str:
        return f"ssh://git@127.0.0.1:{self.ssh_port}/{app}.git"

    # --- visitors ---

    def get(self, app: str, path: str = "/", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        link = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        host = app if "." in app else f"{app}.localhost"
        link.request("GET", path, headers={"Host": host, **(headers or {})})
        answer = link.getresponse()
        body = answer.read().decode()
        link.close()
        return answer.status, body

    # --- the machine ---

    def idle(self) -> None:
        """Return when nothing is under way in octod."""
        link = UnixHTTP(self.home / "octo" / "run" / "api.sock")
        link.request("GET", "/octo/idle")
        assert link.getresponse().status == 200
        link.close()

    def containers(self, *, receivers: bool = False) -> list[str]:
        """Names of this octo's containers, running or not."""
        argv = ["docker", "ps", "-a", "--no-trunc", "--filter", f"label=octo.instance={self.instance}"]
        out = subprocess.run([*argv, "--format", "{{.Names}}"], capture_output=True, text=True, check=True).stdout
        return sorted(n for n in out.split() if ("-rx-" in n) == receivers)

    def sandboxed(self) -> list[Path]:
        """The processes of this octo's sandboxes, as folders of /proc, the first one first."""
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    dead = "State:\tZ" in (process / "status").read_text()  # and its parent is not ours to hurry
                    groups = (process / "cgroup").read_text()
                    if not dead and any(f"/{self.instance}-{kind}/" in groups for kind in SANDBOXES):
                        found.append(process)
        return sorted(found, key=lambda p: int(p.name))

    def left_over(self) -> list[str]:
        """What should not be there when nothing is under way; [] is as it must be."""
        found = [f"receiver {n}" for n in self.containers(receivers=True)]
        found += [f"process of a sandbox: {command(p)}" for p in self.sandboxed()]
        groups = [p for kind in SANDBOXES for p in Path("/sys/fs/cgroup").glob(f"*/{self.instance}-{kind}/*")]
        found += [f"group {p}" for p in groups if p.is_dir()]
        found += [f"disk {p}" for p in (self.home / "octo/sandboxes").rglob("*.img")]
        found += [f"folder {p}" for p in (self.home / "octo/run/rx").iterdir()]
        found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(self.home) in line]
        found += [f"blob {p}" for p in (self.home / "octo/blobs").glob(".new-*")]
        repos = self.home / "octo/repos"
        found += [f"lock {p}" for p in repos.rglob("*.lock")]
        found += [f"quarantine {p}" for p in repos.rglob("tmp_objdir-*")]
        bad = [d for d in json.loads(self.octo("doctor", "--format", "json", code=None)) if not d["ok"]]
        return found + [f"doctor: {d['check']}: {d['detail']}" for d in bad]


def command(process: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{process.name} {(process / 'cmdline').read_bytes()!r}"
    return f"{process.name}, which has ended"


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("octo", timeout=300)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Repository:
    """A pusher's clone."""

    def __init__(self, host: Host, app: str, files: Mapping[str, str], *, key: Path | None = None) -> None:
        self.host, self.app, self.key = host, app, key
        self.folder = Path(tempfile.mkdtemp(prefix=f"{app}-", dir=host.home))
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "octo", host.url(app))
        self.commit(files)

    def git(self, *words: str, code: int | None = 0) -> str:
        done = subprocess.run(self.argv(*words), env=self.environment(), capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, f"git {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def argv(self, *words: str) -> Sequence[str]:
        return ["git", "-C", str(self.folder), *words]

    def environment(self) -> dict[str, str]:
        return {"PATH": PATH, "HOME": str(self.host.home), "GIT_SSH_COMMAND": self.host.ssh_command(self.key), **GIT}

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, *words: str, code: int | None = 0) -> str:
        return self.git("push", "octo", *(words or ("main",)), code=code)

    def start_push(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.argv("push", "octo", *(words or ("main",))),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that git and its ssh can be killed together, as ^C does
        )

    def remote_ref(self, ref: str = "refs/heads/main") -> str:
        return self.git("ls-remote", "octo", ref).split("\t")[0].strip()
