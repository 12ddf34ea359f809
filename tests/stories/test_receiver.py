"""The sandbox of a push, seen from outside while a build goes on."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest

from octo.daemon.director import VALUES
from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]
HANG = "RUN echo now it hangs; exec sleep inf"


class Hanging:
    """A push whose build does not end, at the moment when it says so."""

    def __init__(self, clone: Repository) -> None:
        self.push = clone.start_push()
        assert self.push.stdout
        self.said: list[str] = []
        for line in self.push.stdout:
            self.said.append(line)
            if "now it hangs" in line and "RUN" not in line and "Step" not in line:
                return
        raise AssertionError("".join(self.said))

    def end(self) -> str:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.push.pid, signal.SIGKILL)
        rest = self.push.communicate()[0]
        return "".join(self.said) + rest


@pytest.fixture
def hanging(repository: Make) -> Iterator[Hanging]:
    made = Hanging(repository(apps.failing(HANG)))
    yield made
    made.end()


@pytest.mark.row("C1")
@pytest.mark.row("C2")
@pytest.mark.row("C9")
@pytest.mark.row("C10")
@pytest.mark.row("G5")
def test_the_receiver_is_locked_down_and_knows_ten_values(host: Host, hanging: Hanging) -> None:
    """Seen from outside: git's hook, which runs what the pusher's build made it wait for."""
    (hook,) = [p for p in host.sandboxed() if b"pre-receive" in (p / "cmdline").read_bytes()]
    given = {e.partition(b"=")[0].decode() for e in (hook / "environ").read_bytes().split(b"\0") if e}
    assert {name for name in given if name.endswith(("_URL", "_KEY", "_ID"))} == set(VALUES)
    assert not {name for name in given if "OCTO" in name or "SECRET" in name}
    urls = [e.partition(b"=")[2] for e in (hook / "environ").read_bytes().split(b"\0") if b"_URL=" in e]
    assert len(urls) == 8 and all(url.startswith((b"http+unix://octo/", b"file:///")) for url in urls)
    status = (hook / "status").read_text()
    assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status and "\nUid:\t59204\t59204" in status
    devices = (hook / "net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert (hook / "root/etc/shadow").exists() is False or (hook / "root/etc/shadow").stat().st_size == 0


@pytest.mark.row("T4")
def test_a_pusher_who_hangs_up_ends_the_build_and_leaves_nothing(host: Host, app: str, repository: Make) -> None:
    hanging = Hanging(repository(apps.failing(HANG)))
    hanging.end()
    host.idle()
    assert not host.left_over()
    assert [b["status"] for b in host.json("builds", "-a", app)] == ["abandoned"]
    assert "sleep inf" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.row("C6")
@pytest.mark.row("C8")
def test_nothing_leads_into_a_receiver_but_the_pushers_own_connection(host: Host, hanging: Hanging) -> None:
    """No server in it, no port, no second SSH connection: git holds the descriptors that the door was given."""
    # lxc-start watches from outside.
    processes = [p for p in host.sandboxed() if (p / "comm").read_text().strip() != "lxc-start"]
    for process in processes:
        for table in ("tcp", "tcp6", "udp", "udp6"):
            assert len((process / "net" / table).read_text().splitlines()) == 1
    programs = {(p / "comm").read_text().strip() for p in processes}
    assert "git" in programs and not {p for p in programs if "ssh" in p}


@pytest.mark.row("B9")
@pytest.mark.row("B10")
def test_nothing_is_checked_out_on_the_host(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    stored = host.home / "octo/repos" / f"{host.json('apps:info', '-a', app)['id']}.git"
    assert (stored / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert not list((host.home / "octo").rglob("greeting.txt"))


@pytest.mark.row("B16")
def test_a_second_push_to_the_app_waits_and_says_for_whom(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.failing(HANG))
    hanging = Hanging(clone)
    other = Repository(host, app, apps.web("second"))
    second = other.start_push()
    assert second.stdout
    first_line = second.stdout.readline()
    assert "Waiting: a push by ann" in first_line
    hanging.end()
    rest = second.communicate()[0]
    assert second.returncode == 0, rest
    assert host.get(app) == (200, "second v1 ")


def test_pushes_to_two_apps_go_on_side_by_side(host: Host, app: str, repository: Make, hanging: Hanging) -> None:
    other = Repository(host, f"{app[:40]}-two", apps.web("meanwhile"))
    other.push()
    assert host.get(other.app)[1].startswith("meanwhile")
    host.octo("apps:destroy", other.app, "--confirm", other.app)


@pytest.mark.row("G2")
def test_a_value_works_once_and_only_inside(host: Host, hanging: Hanging) -> None:
    """The socket is there, the values are known: a process outside the sandbox still gets nothing."""
    (folder,) = (host.home / "octo/run/rx").iterdir()
    done = subprocess.run(
        ["curl", "-s", "-X", "PUT", "--unix-socket", str(folder / "octo.sock"), "http://octo/route_url/x"],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0 and done.stdout == b""


def test_a_build_that_never_ends_is_ended_by_the_clock(own_host: Host) -> None:
    own_host.stop()
    own_host.env["OCTO_BUILD_SECONDS"] = "2"
    own_host.start()
    said = Repository(own_host, "endless", apps.failing(HANG)).push(code=1)
    assert "2 s" in said and "[remote rejected]" in said
    own_host.idle()
    assert not own_host.left_over()


def test_hostile_refs_are_not_taken(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push()
    commit = clone.git("rev-parse", "HEAD").strip()
    said = clone.git("push", "octo", f"main:refs/replace/{commit}", code=1)
    assert "deny updating a hidden ref" in said
    assert not clone.remote_ref(f"refs/replace/{commit}")


@pytest.mark.row("B3")
def test_what_lies_in_the_repository_steers_nothing(host: Host, app: str, repository: Make) -> None:
    """Hooks and configuration are octo's own in every session, whatever an earlier one may have left there."""
    clone = repository(apps.web("hello"))
    clone.push()
    stored = host.home / "octo/repos" / f"{host.json('apps:info', '-a', app)['id']}.git"
    assert not (stored / "hooks").exists()
    (stored / "hooks").mkdir()
    for name in ("pre-receive", "post-receive", "update", "reference-transaction"):
        (stored / "hooks" / name).write_text("#!/bin/sh\necho owned\nexit 0\n")
        (stored / "hooks" / name).chmod(0o755)
    (stored / "config").write_text("[core]\n\tbare = true\n\thooksPath = hooks\n\tfsmonitor = echo owned\n")
    (stored / "objects/info/alternates").write_text("/etc\n")
    clone.commit({"greeting.txt": "two\n"})
    said = clone.push()
    assert "owned" not in said and "done, v2" in said
    assert host.get(app) == (200, "two v2 ")


@pytest.mark.row("T6")
def test_a_receiver_that_disappears_ends_the_push(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("good"))
    clone.push()
    clone.commit(apps.failing(HANG))
    hanging = Hanging(clone)
    for process in host.sandboxed():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)
    rest = hanging.push.communicate()[0]
    assert hanging.push.returncode != 0, rest
    host.idle()
    assert not host.left_over()
    assert host.get(app) == (200, "good v1 ")
