"""How fast a big push is received, against git and OpenSSH alone. Its branch does not deploy: nothing is built.

It comes to octo by both doors: octo's own, and the sshd of the other side with gitreceive as its forced command.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.by_hand import ByHand
from bench.octo_side import Octo
from bench.pushes import GIT, path, run_and_read
from bench.table import Goal, Row
from octo.settings import CHECKOUT

FILES, SIZE = 300, 1_000_000  # bytes
BRANCH = "HEAD:refs/heads/big"


class Receive:
    """Each push goes to a repository that has nothing yet. folder: of the pusher; its owner removes it."""

    def __init__(self, folder: Path, octo: Octo, hand: ByHand, tell: Callable[[str], None]) -> None:
        self._folder, self._octo, self._hand, self._tell = folder, octo, hand, tell
        self._ways = {"hand": self._to_openssh, "octo": self._to_octo, "gitreceive": self._to_gitreceive}
        self._took: dict[str, list[float]] = {way: [] for way in self._ways}  # ms

    def run(self, rounds: int) -> None:
        self._make()
        self._let_in()
        for number in range(rounds):
            self._tell(f"receiving {FILES * SIZE // 1_000_000} MB, {number + 1} of {rounds}")
            for way in sorted(self._ways, reverse=bool(number % 2)):
                self._took[way].append(self._ways[way](f"{way}-{number}") * 1000)
        shutil.rmtree(self._folder)

    def rows(self) -> Sequence[Row]:
        what = f"push of {FILES * SIZE // 1_000_000} MB is received; by hand: git over OpenSSH"
        doors = {"octo": what, "gitreceive": "the same by OpenSSH and gitreceive"}
        return tuple(Row(text, self._took[way], self._took["hand"], Goal(ratio=1.15)) for way, text in doors.items())

    def _make(self) -> None:
        self._folder.mkdir()
        self._git("init", "-q", "-b", "main")
        for number in range(FILES):
            (self._folder / f"{number}.bin").write_bytes(os.urandom(SIZE))
        for words in (("add", "-A"), ("commit", "-q", "-m", "big")):
            self._git("-c", "core.compression=0", *words)
        # Packed, so that what the pusher's git does is to copy, and the receiver is what counts.
        self._git("repack", "-q", "-a", "-d", "--window=0")

    def _let_in(self) -> None:
        """Make a key for the other side's sshd that leads to octo, as the user who has a key there already."""
        hand, host = self._hand.folder, self._octo.host
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(hand / "octo-key")], check=True)
        argv = ["ssh-keygen", "-lf", f"{host.key}.pub"]
        fingerprint = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]
        run = f"{sys.executable} -I -S {CHECKOUT}/gitreceive/__main__.py run ann {fingerprint}"
        door = f"env OCTO_DOOR={host.home}/octo/run/door.sock"
        with (hand / "keys").open("a") as keys:
            keys.write(f'\nrestrict,command="{door} {run}" {(hand / "octo-key.pub").read_text()}')

    def _to_octo(self, app: str) -> float:
        return self._to_app(app, self._octo.host.url(app), self._octo.host.ssh_command())

    def _to_gitreceive(self, app: str) -> float:
        return self._to_app(app, self._hand.url(Path(f"/{app}.git")), self._hand.ssh_command("octo"))

    def _to_app(self, app: str, remote: str, ssh: str) -> float:
        self._octo.ask("POST", "/apps", {"name": app})
        try:
            return self._push(remote, ssh)
        finally:
            self._octo.host.idle()
            self._octo.host.octo("apps:destroy", app, "--confirm", app)

    def _to_openssh(self, name: str) -> float:
        bare = self._hand.folder / f"{name}.git"
        subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
        subprocess.run(["git", "-C", str(bare), "config", "receive.unpackLimit", "1"], check=True)
        try:
            return self._push(self._hand.url(bare), self._hand.ssh_command("hook"))
        finally:
            shutil.rmtree(bare)

    def _push(self, remote: str, ssh: str) -> float:
        os.sync()  # what was written for the one before is not written on this one's time
        start = time.monotonic()
        run_and_read(["git", "-C", str(self._folder), "push", "-q", remote, BRANCH], self._environment(ssh))
        return time.monotonic() - start

    def _git(self, *words: str) -> None:
        argv = ["git", "-C", str(self._folder), *words]
        subprocess.run(argv, env=dict(self._environment("ssh")), check=True, capture_output=True)

    def _environment(self, ssh: str) -> Mapping[str, str]:
        return {"PATH": path(), "HOME": str(self._folder.parent), "GIT_SSH_COMMAND": ssh, **GIT}
