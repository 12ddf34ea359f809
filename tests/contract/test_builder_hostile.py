"""Dockerfiles that mean harm: what they reach, what they see, and what they leave."""

import contextlib
import fcntl
import http.server
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.buildengine.engine import BuildEngine
from octo.errors import BuildFailed
from tests.contract import engine_parts
from tests.contract.docker_parts import APP, ENGINE, STACK, WORKER, image, listen
from tests.contract.engine_parts import FROM, INSTANCE, MB, SLEEP, Bench

METADATA, PRIVATE = "169.254.169.254", "192.168.77.1"
CONNECT = (
    "import socket,sys; s=socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('REA''CHED', sys.argv[1])"
)
CONSUL, LINK = 8500, f"octo-t{WORKER}x"


@pytest.fixture(scope="module")
def listener() -> Iterator[list[str]]:
    """A server at port 80 of every address of this host, the two above among them; who asked it, by address."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret of the host")

        def log_message(self, *_: object) -> None:
            pass

    with contextlib.ExitStack() as stack:
        lock = stack.enter_context((Path(tempfile.gettempdir()) / "octo-test-port-80").open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # there is one port 80 for all workers
        server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        subprocess.run(["ip", "link", "add", LINK, "up", "type", "bridge"], check=True)
        stack.callback(subprocess.run, ["ip", "link", "del", LINK], check=True)
        for address in (METADATA, PRIVATE):
            subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", LINK], check=True)
        yield asked


def addresses() -> list[str]:
    """All of this host's that answer, the gateways of Docker's and of the builds' own bridge among them.

    Those of the tests beside this one come and go.
    """
    links = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout)
    found = sorted({a["local"] for link in links for a in link["addr_info"]})
    asked = [subprocess.run(["curl", "-s", f"http://{f}/"], check=False, capture_output=True) for f in found]
    return [address for address, done in zip(found, asked, strict=True) if done.stdout == b"secret of the host"]


@pytest.mark.row("C1")
def test_no_address_of_the_host_answers_to_what_a_build_or_the_engine_itself_asks(
    bench: Bench, listener: list[str]
) -> None:
    listener.clear()
    targets = addresses()
    assert {"127.0.0.1", METADATA, PRIVATE, "172.17.0.1", f"10.211.{WORKER}.1"} <= set(targets)
    assert sorted(listener) == targets, "and all of them answer to the host"
    listener.clear()
    tries = [f'python3 -c "{CONNECT}" {target} 80 || true' for target in targets]
    bench.build("RUN " + "; ".join(tries) + "\n")
    assert b"REACHED" not in bench.output
    assert len(re.findall(rb"\w+Error: ", bench.output)) == len(targets)
    for target in targets:
        with pytest.raises(BuildFailed, match="ADD"):
            bench.build(f"ADD http://{target}/ /x\n")
    assert not listener


@pytest.mark.row("C1")
def test_no_other_address_of_this_machine_answers_to_a_build_or_to_the_engine(
    bench: Bench, listener: list[str]
) -> None:
    """An app's container, the port of Consul, and the host by IPv6."""
    listener.clear()
    with (
        container() as app,
        socket.create_server(("::", CONSUL), family=socket.AF_INET6, dualstack_ipv6=True) as consul,
    ):
        places = [(app, 80), ("127.0.0.1", CONSUL), ("172.17.0.1", CONSUL), ("::1", CONSUL), *here_by_ipv6()]
        for place in places:
            socket.create_connection(place, 10).close()
        tries = [f'python3 -c "{CONNECT}" {host} {port} || true' for host, port in places]
        bench.build("RUN " + "; ".join([*tries, "grep -v ' lo$' /proc/net/if_inet6 || echo NO''IPV6"]) + "\n")
        assert b"REACHED" not in bench.output and len(re.findall(rb"\w+Error: ", bench.output)) == len(places)
        assert b"NOIPV6\n" in bench.output
        for host, port in places:
            with pytest.raises(BuildFailed, match="ADD"):
                bench.build(f"ADD http://{f'[{host}]' if ':' in host else host}:{port}/v1/kv/?recurse /x\n")
        consul.settimeout(0)
        found = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                consul.accept()[0].close()
                found += 1
        assert found == len([port for _, port in places if port == CONSUL])


@contextlib.contextmanager
def container() -> Iterator[str]:
    """Somebody's app on Docker's own network, which listens on port 80; its address."""
    argv = ["docker", "run", "-d", "--user=0", STACK, "sh", "-c", listen("0.0.0.0", 80)]
    id = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        with subprocess.Popen(["docker", "logs", "-f", id], stdout=subprocess.PIPE) as logs:
            assert logs.stdout and logs.stdout.readline() == b"up\n"
            logs.kill()
        yield str(ENGINE.get("containers", id, "json")["NetworkSettings"]["IPAddress"])
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", id], capture_output=True, check=True)


def here_by_ipv6() -> list[tuple[str, int]]:
    """Global addresses of this host, where it has any."""
    links = json.loads(subprocess.run(["ip", "-j", "-6", "addr"], capture_output=True, check=True).stdout)
    return [(a["local"], CONSUL) for li in links for a in li["addr_info"] if a["scope"] == "global"]


def test_no_way_to_say_an_address_reaches_the_host(bench: Bench, listener: list[str]) -> None:
    listener.clear()
    with pytest.raises(BuildFailed, match="ADD"):
        bench.build("ARG U=x\nADD $U /x\n", args={"U": "http://127.0.0.1/"})
    with pytest.raises(BuildFailed, match="base image"):
        bench.build({"Dockerfile": b"FROM 127.0.0.1:80/x\n"})
    with pytest.raises(BuildFailed, match="base image"):
        bench.build({"Dockerfile": f"ARG U=10.211.{WORKER}.1:80/x\nFROM $U\n".encode()})
    for way in ("localhost", "127.1", "0x7f000001", "2130706433", "0", "[::ffff:127.0.0.1]"):
        with pytest.raises(BuildFailed, match="ADD"):
            bench.build(f"ADD http://{way}/ /x\n")
    assert not listener


def test_an_onbuild_line_of_a_base_reaches_no_more_than_the_file_itself(
    engine: BuildEngine, listener: list[str]
) -> None:
    listener.clear()
    base = f"{INSTANCE}-onbuild:1"
    with image(base, "ONBUILD ADD http://127.0.0.1/ /x"), engine_parts.bench(engine, bases=[base]) as bench:
        with pytest.raises(BuildFailed):
            bench.build({"Dockerfile": f"FROM {base}\n".encode()})
        for tag in (base, *(t for i in bench.engine.get("images", "json") for t in i["RepoTags"] or ())):
            found = bench.engine.find("images", tag, "json")
            if found and found["Config"].get("OnBuild"):
                bench.engine.delete("images", tag)
    assert not listener


def test_the_internet_is_reached_all_the_same(bench: Bench) -> None:
    bench.build("RUN apt-get update\n", seconds=300)
    assert b"Reading package lists" in bench.output


def test_builds_do_not_reach_each_other(bench: Bench, engine: BuildEngine) -> None:
    serve = "hostname -i; exec python3 -m http.server 8000"
    found: list[str] = []
    done = threading.Event()

    def serving() -> bool:
        if not found:
            found.extend(re.findall(r"^(198\.18\.\d+\.\d+)", bench.output.decode(), re.MULTILINE))
        return done.is_set()

    def run() -> None:
        with contextlib.suppress(Exception):
            bench.build(f"RUN {serve}\n", cancelled=serving)

    server = threading.Thread(target=run)
    server.start()
    other = Bench(engine_parts.docker_builder(engine), engine, numbers=iter([100]))
    try:
        while not found and server.is_alive():
            server.join(0.05)
        other.build(f'RUN python3 -c "{CONNECT}" {found[0]} 8000 || true\n', app="b" * 12)
    finally:
        done.set()
        server.join()
    assert b"REACHED" not in other.output and b"Error: " in other.output


def test_root_inside_is_nobody_outside(bench: Bench) -> None:
    bench.build("RUN cat /proc/self/uid_map; grep -i seccomp: /proc/self/status; cat /proc/self/cgroup\n")
    inside, outside, count = re.search(r"^ *(\d+) +(\d+) +(\d+)$", bench.output.decode(), re.MULTILINE).groups()  # type: ignore[union-attr]
    assert (inside, count) == ("0", "65536") and int(outside) > 0x70000000
    assert re.search(rb"Seccomp:\s*2", bench.output)
    assert f"/{INSTANCE}-engine/app-{APP}/".encode() in bench.output or b"0::/\n" in bench.output


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -t tmpfs none /mnt",
        "mknod /dev/sda b 8 0",
        "unshare -U true",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        "python3 -c 'import socket; socket.socket(40, socket.SOCK_STREAM)'",
        "sh -c 'echo c > /proc/sysrq-trigger'",
        "sh -c 'echo 1 > /proc/sys/kernel/panic'",
        "test -S /var/run/docker.sock",
    ],
)
def test_what_a_build_must_not_do_is_refused(bench: Bench, attempt: str) -> None:
    bench.build(f"RUN {attempt} && echo DO''NE || echo RE''FUSED\n")
    assert b"REFUSED" in bench.output and b"DONE" not in bench.output


@pytest.mark.parametrize("what", ["apt-get --version", "su app -s /bin/sh -c id", "useradd bob", "chroot / /bin/true"])
def test_what_ordinary_builds_do_works(bench: Bench, what: str) -> None:
    bench.build(f"RUN {what}\n")


@pytest.mark.row("C4")
def test_a_fork_bomb_ends_at_the_limit_and_is_told(bench: Bench) -> None:
    bomb = "import os,time\nfor _ in range(500): os.fork() or time.sleep(60)"
    with pytest.raises(BuildFailed, match="ran more than 40 processes and threads at once, the limit") as caught:
        bench.build(
            {"Dockerfile": (FROM + "COPY bomb /\nRUN python3 /bomb\n").encode(), "bomb": bomb.encode()}, pids=40
        )
    assert "octo limits:set APP pids=" in caught.value.hint


@pytest.mark.row("C4")
def test_who_fills_the_disk_is_ended_and_no_other_build_is(bench: Bench, engine: BuildEngine) -> None:
    fill = "RUN head -c 2000M /dev/zero > /big; sleep 60\n"
    ended: list[BaseException] = []

    def run() -> None:
        try:
            bench.build(fill, disk=150 * MB)
        except BuildFailed as error:
            ended.append(error)

    filler = threading.Thread(target=run)
    filler.start()
    other = Bench(engine_parts.docker_builder(engine), engine, numbers=iter([200]))
    # The same small limit, while the other's gigabytes are on the same disk: only what is its own counts.
    done = other.build("RUN head -c 20M /dev/zero > /small; sleep 3\n", disk=150 * MB, app="b" * 12)
    filler.join()
    assert done.startswith("sha256:")
    (error,) = ended
    assert "wrote more than 150 MB, the limit" in str(error)
    assert "octo limits:set APP disk=" in error.hint  # type: ignore[attr-defined]


def test_what_a_failed_build_wrote_is_gone_at_once(bench: Bench, engine: BuildEngine) -> None:
    free = engine.free()
    with pytest.raises(BuildFailed, match="wrote more than"):
        bench.build("RUN head -c 900M /dev/zero > /big; sleep 60\n", disk=100 * MB)
    assert engine.free() > free - 50 * MB


def test_what_a_step_leaves_behind_in_the_background_is_gone(bench: Bench) -> None:
    bench.build(f"RUN (setsid nohup {SLEEP} >/dev/null 2>&1 &); echo left\n")
    running = [
        p for p in os.listdir("/proc") if p.isdecimal() and SLEEP.split()[1] in _words(p) and "sleep" in _words(p)
    ]
    assert not running


def _words(pid: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []
