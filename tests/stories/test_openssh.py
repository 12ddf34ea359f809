"""The same push through a real sshd and gitreceive, its forced command."""

import getpass
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, PATH, Host, Repository, free_port


class Sshd:
    def __init__(self, host: Host) -> None:
        self.host, self.port = host, free_port()
        self.folder = host.home / "sshd"
        self.folder.mkdir()
        self.key = host.key
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host")], check=True)
        shown = subprocess.run(
            ["ssh-keygen", "-lf", f"{self.key}.pub"], capture_output=True, text=True, check=True
        ).stdout
        program = f"env OCTO_DOOR={host.home}/octo/run/door.sock /usr/bin/python3 -I -S {CHECKOUT}/gitreceive"
        options = "no-agent-forwarding,no-pty,no-user-rc,no-X11-forwarding,no-port-forwarding,restrict"
        line = f'command="{program} run ann {shown.split()[1]}",{options} {Path(f"{self.key}.pub").read_text()}'
        (self.folder / "keys").write_text(line)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, more: str = "") -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "UsePAM": "no",
            "AuthorizedKeysFile": self.folder / "keys",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "PidFile": "none",
            "PermitRootLogin": "yes",
            "AcceptEnv": "GIT_PROTOCOL",
        }
        (self.folder / "config").write_text("".join(f"{k} {v}\n" for k, v in settings.items()) + more)
        argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "config")]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"PATH": PATH})
        assert self.process.stderr
        for line in self.process.stderr:
            if b"Server listening" in line:
                return
        raise AssertionError("sshd did not start")

    def url(self, app: str) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}/{app}.git"

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.communicate()


@pytest.fixture(scope="module")
def sshd(host: Host) -> Iterator[Sshd]:
    made = Sshd(host)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.row("A1")
@pytest.mark.row("A3")
@pytest.mark.row("A4")
@pytest.mark.row("A10")
@pytest.mark.row("B11")
def test_a_push_through_openssh_is_served(host: Host, app: str, sshd: Sshd) -> None:
    clone = Repository(host, app, apps.web("through openssh"))
    clone.git("remote", "set-url", "octo", sshd.url(app))
    assert "done, v1" in clone.push()
    assert host.get(app) == (200, "through openssh v1 ")
    clone.commit(apps.failing("RUN exit 9"))
    assert "exit code 9" in clone.push(code=1)
    assert host.get(app) == (200, "through openssh v1 ")
    assert clone.git("ls-remote", "octo", "refs/heads/main")
    host.octo("apps:destroy", app, "--confirm", app)


def test_commands_work_through_openssh(host: Host, app: str, sshd: Sshd) -> None:
    argv = [*host.ssh_command().split(), "-p", str(sshd.port), f"{getpass.getuser()}@127.0.0.1"]
    made = subprocess.run(
        [*argv, f"apps:create {app}"], capture_output=True, text=True, env={"PATH": PATH}, check=False
    )
    assert made.returncode == 0, made.stderr
    missing = subprocess.run(
        [*argv, "config -a no-such-app"], capture_output=True, text=True, env={"PATH": PATH}, check=False
    )
    assert missing.returncode == 20 and "cannot find the app" in missing.stderr
    shell = subprocess.run(
        argv, capture_output=True, text=True, env={"PATH": PATH}, stdin=subprocess.DEVNULL, check=False
    )
    assert shell.returncode == 1 and "Arbitrary ssh prohibited" in shell.stderr
    host.octo("apps:destroy", app, "--confirm", app)


@pytest.mark.row("T2")
def test_without_octod_the_pusher_is_told(app: str, tmp_path: Path) -> None:
    environment = {
        "PATH": PATH,
        "OCTO_DOOR": str(tmp_path / "none.sock"),
        "SSH_ORIGINAL_COMMAND": f"git-receive-pack '{app}.git'",
    }
    argv = ["/usr/bin/python3", "-I", "-S", str(CHECKOUT / "gitreceive"), "run", "ann", "SHA256:" + "a" * 43]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1 and " ! Unable to contact build server." in done.stderr


@pytest.mark.row("A11")
def test_a_key_that_octo_does_not_know_is_refused_in_the_old_words(host: Host, app: str) -> None:
    """sshd let it in by a line of its own; octod decides all the same, and nothing is made."""
    for command in (f"git-receive-pack '{app}.git'", f"git-upload-pack '{app}.git'", f"apps:create {app}"):
        environment = {"PATH": PATH, "OCTO_DOOR": f"{host.home}/octo/run/door.sock", "SSH_ORIGINAL_COMMAND": command}
        argv = ["/usr/bin/python3", "-I", "-S", str(CHECKOUT / "gitreceive"), "run", "eve", "SHA256:" + "e" * 43]
        done = subprocess.run(
            argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 1 and done.stderr.startswith(" ! not an authorized user\n") and not done.stdout
    assert app not in [a["name"] for a in host.json("apps")]
