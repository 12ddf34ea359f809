"""ps, logs and run against the real octod: streams, terminals, exit codes; nothing is left of a caller who hangs up."""

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]
OCTO = str(CHECKOUT / "bin" / "octo")
SOON = 20  # seconds; the most a test waits for what comes at once


@pytest.mark.row("I8")
def test_processes_are_scaled_stopped_and_started(host: Host, app: str, repository: Make) -> None:
    repository({**apps.web("hello"), "Procfile": "web: python3 server.py\nworker: exec sleep inf\n"}).push()
    for word in (
        "web=-1",
        "web=1.5",
        "web=",
        "web=x",
        "web=101",
        "web=1000000000000",
        "=1",
        "Web=1",
        "web=１",
        "web=0x1",
    ):
        host.octo("ps:scale", "-a", app, word, code=2)
    said = host.octo("ps:scale", "-a", app, "worker=1", "nosuch=1", code=1)
    assert '"nosuch"' in said and "It has: web, worker." in said
    assert processes(host, app) == ["web.1"]  # all or nothing
    host.octo("ps:scale", app, "web=2", "worker=1")
    assert processes(host, app) == ["web.1", "web.2", "worker.1"]
    assert [(f["type"], f["quantity"]) for f in host.json("ps:scale", app)] == [("web", 2), ("worker", 1)]
    assert routed(host, app) == ["web.1", "web.2"]
    host.octo("ps:stop", app)
    assert host.get(app)[0] == 503 and processes(host, app) == []
    assert f"{app}: STOPPED\n" in host.octo("status")
    assert "octo ps:start" in host.octo("ps:restart", app, code=1)
    host.octo("config:set", app, "WORD=later")  # a release that does not start it
    assert host.get(app)[0] == 503
    host.octo("ps:start", app)
    assert host.get(app) == (200, "hello v2 later")
    assert processes(host, app) == ["web.1", "web.2", "worker.1"]
    assert f"{app}: OK\n" in host.octo("status")
    before = set(host.containers())
    host.octo("ps:restart", "-a", app, "worker")
    host.idle()
    assert len(set(host.containers()) - before) == len(before - set(host.containers())) == 1
    assert "no such process type" in host.octo("ps:restart", app, "nosuch", code=1)
    host.octo("ps:scale", app, "web=0")
    assert host.get(app)[0] == 503 and processes(host, app) == ["worker.1"]


def processes(host: Host, app: str) -> list[str]:
    host.idle()
    return sorted(d["name"] for d in host.json("ps", app))


def routed(host: Host, app: str) -> list[str]:
    """The processes that nginx sends requests to."""
    text = "".join(p.read_text() for p in (host.home / "octo/nginx/current").resolve().rglob("*.conf"))
    return sorted(d["name"] for d in host.json("ps", app) if f"{d['address']}:" in text)


@contextlib.contextmanager
def started(
    host: Host, *words: str, by_ssh: bool = False, terminal: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    stdin, stdout = (terminal, terminal) if terminal is not None else (subprocess.PIPE, subprocess.PIPE)
    ssh = [*host.ssh_command().split(), "-p", str(host.ssh_port), "git@127.0.0.1"]
    argv = [*ssh, *words] if by_ssh else [OCTO, *words]
    with subprocess.Popen(argv, env=host.env, stdin=stdin, stdout=stdout) as running:
        try:
            yield running
        finally:
            running.kill()


def opened(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.row("L42")
@pytest.mark.parametrize("by_ssh", [False, True], ids=["octo", "ssh"])
def test_logs_are_cut_chosen_and_followed_until_the_reader_hangs_up(
    host: Host, app: str, repository: Make, by_ssh: bool
) -> None:
    repository(
        {**apps.web("hello"), "Procfile": "web: python3 server.py\nworker: echo worker is up; exec sleep inf\n"}
    ).push()
    host.octo("ps:scale", app, "worker=1")
    host.get(app, "/first")
    host.get(app, "/second")
    (last,) = host.octo("logs", app, "-n", "1", "-p", "web").splitlines()
    assert 'app[web.1]: request "GET /second HTTP/1.1" 200' in last
    assert host.octo("logs", app, "-p", "worker.1").endswith("app[worker.1]: worker is up\n")
    assert host.octo("logs", app).count("\n") > 3
    for number in ("-1", "x", "10001"):
        host.octo("logs", app, "-n", number, code=2)
    assert "printed nothing" in host.octo("logs", app, "-p", "nosuch")
    with started(host, "logs", "-a", app, "-f", "-n", "1", "-p", "web", by_ssh=by_ssh) as reader:
        assert reader.stdout
        assert b"/second" in reader.stdout.readline()
        host.get(app, "/third")
        assert b"/third" in reader.stdout.readline()


def test_readers_of_a_silent_apps_log_cost_nothing_once_they_have_gone(host: Host, app: str, repository: Make) -> None:
    """More of them than the API has threads; nothing is printed that could tell octod that they went."""
    repository(apps.command("echo up; exec sleep inf")).push()
    assert host.daemon
    host.octo("apps")
    before = opened(host.daemon.pid)
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(started(host, "logs", "-a", app, "-t")) for _ in range(45)]
        for reader in readers:
            assert reader.stdout and reader.stdout.readline().endswith(b"app[web.1]: up\n")
        assert app in host.octo("apps")  # the API answers beside them
        assert opened(host.daemon.pid) > before + 2 * len(readers)
    assert within_turns(lambda: opened(host.daemon.pid) < before + 2 * len(readers) if host.daemon else False)
    assert app in host.octo("apps")


def within_turns(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold; octod notices a hang-up a moment after it."""
    return any(holds() or select.select([], [], [], 0.05)[0] for _ in range(20 * SOON))


@pytest.mark.row("L42")
@pytest.mark.row("I9")
def test_run_has_the_apps_code_config_and_the_callers_streams(host: Host, app: str, repository: Make) -> None:
    host.octo("apps:create", app)
    assert "nothing is deployed" in host.octo("run", app, "--", "true", code=1)
    host.octo("config:set", app, "WORD=a  b")
    repository({**apps.web("hello"), "Procfile": "web: python3 server.py\nhi: echo hi from $DYNO\n"}).push()
    assert host.octo("run", "-a", app, 'cat greeting.txt; echo "$WORD"; exit 42', code=42) == "hello\na  b\n"
    assert host.octo("run", "-a", app, "printf", "%s|", "a b", "$HOME", code=0) == "a b|$HOME|"
    assert host.octo("run", app, "--", "hi") == "hi from run.1\n"
    assert host.octo("run", "-a", app, "nosuch-program", code=127)
    megabyte = os.urandom(1024 * 1024)
    ssh = [*host.ssh_command().split(), "-p", str(host.ssh_port), "git@127.0.0.1"]
    for argv in (
        [OCTO, "run", "-a", app, "cat; echo done >&2; exit 3"],
        [*ssh, "run", "-a", app, "'cat; echo done >&2; exit 3'"],
    ):
        done = subprocess.run(argv, input=megabyte, env=host.env, capture_output=True, check=False)
        assert (done.returncode, done.stdout == megabyte, done.stderr) == (3, True, b"done\n")
    assert not one_offs(host)


def one_offs(host: Host) -> list[str]:
    return [name for name in host.containers() if re.search(r"-v\d+-run-[0-9a-f]+$", name)]


@pytest.mark.row("I9")
def test_run_on_a_terminal_gives_the_process_a_terminal(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (33, 111))
    before = termios.tcgetattr(slave)
    line = "until stty size | grep 111; do :; done; test -t 1 && read answer; echo got $answer; exec sleep inf"
    with started(host, "run", "-a", app, line, terminal=slave) as running:
        said = read_until(master, b"33 111\r\n")  # the engine sets the size just after the start
        os.write(master, b"yes\r")
        said += read_until(master, b"got yes\r\n")
        os.write(master, b"\x03")  # ^C is the process's, not octo's
        assert running.wait(SOON) == 130, said
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    assert not one_offs(host)


def read_until(master: int, end: bytes) -> bytes:
    data = b""
    while end not in data:
        assert select.select([master], [], [], SOON)[0], data
        data += os.read(master, 4096)
    return data


@pytest.mark.row("I9")
@pytest.mark.parametrize("by_ssh", [False, True], ids=["octo", "ssh"])
def test_the_one_off_container_dies_with_its_caller(host: Host, app: str, repository: Make, by_ssh: bool) -> None:
    repository(apps.web("hello")).push()
    line = "trap '' TERM HUP INT; echo up; sleep inf & wait; wait"
    words = ["run", "-a", app, f'"{line}"' if by_ssh else line]
    with started(host, *words, by_ssh=by_ssh) as running:
        assert running.stdout and running.stdout.readline() == b"up\n"
        (name,) = one_offs(host)
        argv = ["docker", "wait", name]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as watching:
            running.kill()
            watching.communicate(timeout=SOON)
    host.idle()
    assert within_turns(lambda: not one_offs(host))
    assert host.get(app)[0] == 200 and not Path(f"/proc/{running.pid}").exists()
