"""Bare repositories that strangers wrote become apps; a whole octohost moves here."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.stories.conftest import Name, serving
from tests.stories.host import GIT, PATH, Host
from tests.stories.test_openssh import Sshd

Bare = Callable[..., Path]


class OtherHost(Sshd):
    """An octohost: sshd on this machine, to whose callers `folder/git` is /home/git."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.git = self.folder / "git"
        self.git.mkdir()
        (self.folder / "keys").write_text(Path(f"{self.key}.pub").read_text())
        script = self.folder / "serve"
        script.write_text(f'#!/bin/sh\neval "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "s#/home/git#{self.git}#g")"\n')
        script.chmod(0o755)
        settings = {
            "Host 127.0.0.1": "",
            "Port": self.port,
            "IdentityFile": self.key,
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.folder / "known",
            "StrictHostKeyChecking": "accept-new",
        }
        (host.home / "ssh_config").write_text("".join(f"{k} {v}\n" for k, v in settings.items()))

    def start(self, more: str = "") -> None:
        super().start(f"ForceCommand {self.folder / 'serve'}\n{more}")


@pytest.fixture(scope="module")
def yard(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving() as made:
        made.stop()
        made.env["OCTO_SSH_CONFIG"] = str(made.home / "ssh_config")
        made.start()
        yield made


@pytest.fixture
def bare(yard: Host, tmp_path: Path) -> Bare:
    """Makes bare repositories as `git push` leaves them."""

    def run(where: Path, *words: str) -> str:
        argv = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(
            argv, cwd=where, env={"PATH": PATH, **GIT}, check=True, capture_output=True
        ).stdout.decode()

    def make(path: Path, files: Mapping[str, str], *more: str, branch: str = "master", packed: bool = False) -> Path:
        clone = tmp_path / f"clone-{os.urandom(3).hex()}"
        clone.mkdir()
        run(clone, "init", "-q", "-b", branch)
        for name, text in files.items():
            (clone / name).write_text(text)
        run(clone, "add", "-A")
        run(clone, "commit", "-q", "-m", "one")
        run(clone, "tag", "-a", "v1", "-m", "first")
        path.parent.mkdir(exist_ok=True)
        run(tmp_path, "init", "-q", "--bare", str(path))
        run(clone, "push", "-q", str(path), branch, "v1", *(f"{branch}:{name}" for name in more))
        if packed:
            run(path, "gc", "-q")
        return path

    return make


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_bare_repository_becomes_an_app_with_its_branches(
    yard: Host, names: Name, bare: Bare, tmp_path: Path, packed: bool
) -> None:
    app = names("shop")
    path = bare(tmp_path / "shop.git", apps.web("moved"), "refs/heads/feature/x", packed=packed)
    said = yard.octo("apps:import", app, str(path))
    assert f"=====> {app}: v1 is live at http://{app}.localhost" in said and "-----> Building from Dockerfile" in said
    assert yard.get(app) == (200, "moved v1 ") and yard.get(f"{app}-feature-x") == (200, "moved v1 ")
    refs = subprocess.run(
        ["git", "ls-remote", yard.url(app)],
        env={"PATH": PATH, "GIT_SSH_COMMAND": yard.ssh_command(), **GIT},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split("\t")[1] for line in refs.splitlines()} >= {
        "refs/heads/master", "refs/heads/feature/x", "refs/tags/v1", "refs/tags/v1^{}"
    }  # fmt: skip
    assert "Everything up-to-date" in yard.octo("apps:import", app, str(path))
    assert len(yard.json("releases", "-a", app)) == 1


def test_code_that_cannot_be_deployed_is_kept_and_said_to_be(
    yard: Host, names: Name, bare: Bare, tmp_path: Path
) -> None:
    app = names("words")
    said = yard.octo("apps:import", app, str(bare(tmp_path / "words.git", {"readme.txt": "hello\n"})))
    assert "There is no Dockerfile present." in said
    assert f"{app}: its code is here, and nothing of it is deployed" in said and f"octo restart {app}" in said
    yard.octo("config:set", "-a", app, "BUILDPACK_URL=https://none.invalid/x.tgz", "--no-restart")
    assert "cannot restart" in yard.octo("restart", app, code=1)  # it is found and built, and fails for that


def test_what_a_stranger_wrote_steers_nothing(yard: Host, names: Name, bare: Bare, tmp_path: Path) -> None:
    """Hooks, configuration, links and borrowed objects stay behind; octod itself runs no git on any of it."""
    app = names("evil")
    path, mark = bare(tmp_path / "evil.git", apps.web("tame")), tmp_path / "owned"
    for name in ("pre-push", "post-update", "reference-transaction", "pre-receive"):
        (path / "hooks").mkdir(exist_ok=True)
        (path / "hooks" / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (path / "hooks" / name).chmod(0o755)
    command = f"touch {mark}"
    (path / "config").write_text(
        f"[core]\n\tbare = true\n\tfsmonitor = {command}\n\tsshCommand = {command}\n\thooksPath = hooks\n"
        f"\talternateRefsCommand = {command}\n[include]\n\tpath = /etc/shadow\n"
    )
    (path / "objects/info").mkdir(exist_ok=True)
    (path / "objects/info/alternates").write_text("/etc\n")
    (path / "refs/heads/shadow").symlink_to("/etc/shadow")
    (path / "refs/heads/pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(path / "refs/heads/pipe")
    (path / "objects/aa").symlink_to("/etc")
    said = yard.octo("apps:import", app, str(path))
    assert "borrows objects" in said and yard.get(app) == (200, "tame v1 ") and not mark.exists()
    assert "root:" not in said and "shadow" not in said


@pytest.mark.parametrize("what", ["/nonexistent", "relative", "/etc", "/etc/passwd"])
def test_what_is_no_repository_is_refused_and_makes_nothing(yard: Host, what: str) -> None:
    before = yard.json("apps")
    assert "cannot import" in yard.octo("apps:import", "nothing", what, code=None)
    assert yard.json("apps") == before


def test_importing_is_the_operators_alone(yard: Host) -> None:
    for words in ("apps:import shop /srv/shop.git", "move:sites 127.0.0.1 root"):
        asked = yard.ssh(words)
        assert asked.returncode == 1 and "not an authorized user" in asked.stderr


@pytest.mark.row("L30")
def test_the_sites_of_another_host_move_here(yard: Host, names: Name, bare: Bare) -> None:
    one, two = names("one"), names("two")
    other = OtherHost(yard)
    broken = f"broken-{os.urandom(3).hex()}"
    bare(other.git / f"{one}.git", apps.web("at home"))
    bare(other.git / f"{two.replace('-', '.')}.git", {"readme.txt": "no app\n"})
    (other.git / f"{broken}.git" / "objects").mkdir(parents=True)
    (other.git / f"{broken}.git" / "HEAD").write_text("ref: refs/heads/master\n")
    (other.git / f"{broken}.git" / "packed-refs").write_text(f"{'1' * 40} refs/heads/master\n")
    (other.git / "src").mkdir()
    (other.git / "..;id.git").mkdir()
    try:
        other.start()
        said = yard.octo("move", "sites", "127.0.0.1", "root", code=1)
        assert "Moved 2 of 3 from root@127.0.0.1" in said and "uid=" not in said
        assert f"cannot move 1 of 3: {broken}" in said and broken not in [a["name"] for a in yard.json("apps")]
        assert yard.get(one) == (200, "at home v1 ")
        assert f"{two.replace('-', '.')} -> {two}: its code is here, nothing is deployed" in said
        said = yard.octo("move:sites", "127.0.0.1", "root", code=1)
        assert yard.get(one) == (200, "at home v1 ")
    finally:
        other.stop()


@pytest.mark.row("L30")
def test_a_host_that_is_none_or_does_not_answer_is_told(yard: Host) -> None:
    assert "it is no host" in yard.octo("move:sites", "--", "-oProxyCommand=id", code=2)
    assert "no user name" in yard.octo("move:sites", "--", "127.0.0.1", "-x", code=2)
    (yard.home / "ssh_config").write_text("Host *\nPort 1\n")
    said = yard.octo("move:sites", "127.0.0.1", "root", code=1)
    assert "cannot read from root@127.0.0.1" in said and "ssh root@127.0.0.1 ls /home/git" in said
