"""Builds that mean harm, pushed by somebody with a key, in both kinds of sandbox: they harm nothing but themselves."""

import contextlib
import http.client
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import buildpacks as apps
from tests.stories.conftest import serving
from tests.stories.host import Host, Repository

LIMITS = {
    "OCTO_BUILD_MEMORY_MB": "300",
    "OCTO_BUILD_PIDS": "100",
    "OCTO_BUILD_DISK_MB": "200",
    "OCTO_BUILD_FILES": "20000",
    "OCTO_BUILD_OUTPUT_MB": "1",
    "OCTO_CACHE_MB": "20",
}
# What a build looks for, one line each; PROBE prints the name and whether it got there.
PROBE = r"""
try() { name=$1; shift; if out=$("$@" 2>&1); then echo "PROBE $name got: $(echo "$out" | head -c 200 | tr '\n' ' ')";
  else echo "PROBE $name nothing"; fi; }
grown() { [ "$(id -u)" -eq 0 ]; }
try root grown
try shadow cat /etc/shadow
try docker-socket ls /var/run/docker.sock /run/docker.sock
try octo-home ls HOME
try other-repository find / -xdev -name '*.git' -path '*repos*' -print -quit
try kcore head -c 1 /proc/kcore
try init-environment cat /proc/1/environ
try sysrq sh -c 'echo h >/proc/sysrq-trigger'
try host-name sh -c 'echo evil >/proc/sys/kernel/hostname'
try core-pattern sh -c 'echo "|/bin/true" >/proc/sys/kernel/core_pattern'
try release-agent sh -c 'find /sys/fs/cgroup -name release_agent -writable | grep .'
try write-sys sh -c 'find /sys -writable -type f 2>/dev/null | head -1 | grep .'
try write-usr touch /usr/evil
try write-etc touch /etc/evil
try write-buildpacks touch /octo-buildpacks/evil
try write-guest touch /octo/evil
try mount mount -t tmpfs none /mnt
try user-namespace unshare -Ur true
try device mknod /tmp/sda b 8 0
try disks sh -c 'ls /dev/sd* /dev/vd* /dev/nvme* /dev/loop* 2>/dev/null | grep .'
try raw-socket python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'
try vsock python3 -c 'import socket; socket.socket(40, socket.SOCK_STREAM)'
try set-uid sh -c 'find / -xdev -perm -4000 -type f 2>/dev/null | grep .'
try processes sh -c 'grep -lE "octod|nginx|dockerd" /proc/[0-9]*/comm 2>/dev/null | grep .'
echo PROBE-END
"""
NOTHING_BUT = {"init-environment"}  # its own first process, of the same user: what it holds is checked below


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """Somebody who listens on every address of this host; returns the port."""
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["lxc", "docker"])
def yard(request: pytest.FixtureRequest, listener: int) -> Iterator[Host]:
    # The listeners' ports are open to the internet: what keeps a build from them is where they are.
    ports = {"OCTO_BUILD_PORTS": f"80,443,5000,{listener}"}
    with serving(OCTO_SANDBOX=request.param, **LIMITS, **ports) as made:
        Repository(made, "bystander", apps.static("unharmed")).push()
        yield made


@pytest.fixture
def evil(yard: Host) -> Iterator[str]:
    name = f"evil-{os.urandom(3).hex()}"
    yield name
    yard.octo("apps:destroy", name, "--confirm", name, code=None)
    yard.idle()
    assert yard.get("bystander") == (200, "<h1>unharmed</h1>\n")
    assert not yard.left_over()


def pushed(yard: Host, name: str, script: str, *, code: int) -> str:
    return Repository(yard, name, apps.hostile(script)).push(code=code)


@pytest.mark.row("C1")
@pytest.mark.row("C2")
@pytest.mark.row("C3")
@pytest.mark.row("C14")
def test_a_build_finds_nothing_that_is_not_its_own(yard: Host, evil: str) -> None:
    said = pushed(yard, evil, PROBE.replace("HOME", str(yard.home)), code=0)
    lines = [line.split("PROBE ", 1)[1] for line in said.splitlines() if "PROBE " in line]
    assert len(lines) == PROBE.count("\ntry "), said
    got = {line for line in lines if " got:" in line}
    assert {line.split()[0] for line in got} <= NOTHING_BUT, said
    for line in got:
        assert "octod" not in line and "HOME=/root" not in line, said


def addresses() -> list[str]:
    """Every IPv4 address of this host."""
    found = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout)
    return [each["local"] for link in found for each in link["addr_info"]]


def answers(place: str) -> bool:
    link = http.client.HTTPConnection(place, timeout=10)
    with contextlib.closing(link), contextlib.suppress(OSError):
        link.request("GET", "/")
        return link.getresponse().status in (200, 501)
    return False


def test_a_build_reaches_the_internet_and_nothing_nearer(yard: Host, evil: str, listener: int) -> None:
    (name,) = [n for n in yard.containers() if "-bystander-" in n]
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    other = subprocess.run(["docker", "inspect", "-f", form, name], capture_output=True, text=True, check=True)
    places = [f"{address}:{listener}" for address in addresses()] + [f"{other.stdout.strip()}:5000"]
    places = [place for place in places if answers(place)]  # others' addresses come and go
    assert len(places) > 3 and f"127.0.0.1:{listener}" in places and f"{other.stdout.strip()}:5000" in places
    asked = "".join(f"ask {place}\n" for place in [*places, "169.254.169.254:80", f"localhost:{yard.http_port}"])
    script = (
        "ask() { curl -s -o /dev/null -m 20 http://$1/ && echo REACHED $1 || echo NOT $1; }\n"
        f"{asked}mirror=$(grep -om1 'http[^ ]*' /etc/apt/sources.list)\n"
        "curl -s -o /dev/null -m 60 $mirror && echo INTERNET || echo NO INTERNET\n"
    )
    said = pushed(yard, evil, script, code=0)
    assert "REACHED" not in said and said.count("NOT ") == len(places) + 2, said
    assert "       INTERNET" in said, said


@pytest.mark.row("C4")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        (":(){ :|:& };:\nfor i in $(seq 1 400); do sleep 30 & done; wait", "processes"),
        ("python3 -c 'x = bytearray(600 << 20); print(len(x))'", "ran out of memory (limit 300 MB)"),
        ("head -c 400M /dev/zero >/app/big", "its disk is full"),
        ("mkdir /app/n && cd /app/n && seq 1 40000 | xargs touch 2>/dev/null", "more than 20000 files and folders"),
        ("yes", "printed more than 1 MB"),
    ],
    ids=["fork-bomb", "memory", "disk", "inodes", "output"],
)
def test_a_build_that_takes_too_much_is_told_which_limit_struck(yard: Host, evil: str, script: str, words: str) -> None:
    said = pushed(yard, evil, script, code=1)
    assert words in said and f"octo limits:set {evil}" in said, said[-2000:]
    assert "[remote rejected]" in said
    yard.idle()  # its disk goes behind the push's back
    taken = sum(p.lstat().st_blocks * 512 for p in (yard.home / "octo").rglob("*"))
    assert taken < 100 << 20  # of octo's folder, all builds and apps of this module together


@pytest.mark.row("C11")
def test_a_build_without_end_is_ended_and_so_is_what_it_left_running(yard: Host, evil: str) -> None:
    yard.octo("limits:set", evil, "seconds=5", code=20)
    yard.octo("apps:create", evil)
    yard.octo("limits:set", evil, "seconds=5")
    marker = f"31{os.urandom(3).hex()}"
    script = f"(setsid bash -c 'trap \"\" TERM; exec -a evil-{marker} sleep 10000' &) ; exec sleep inf"
    said = pushed(yard, evil, script, code=1)
    assert "ended after 5 s, the limit" in said and f"octo limits:set {evil} seconds=" in said
    assert marker not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.row("C4")
def test_terminal_escapes_of_a_build_do_not_reach_the_pusher(yard: Host, evil: str) -> None:
    said = pushed(yard, evil, r"printf '\033]0;owned\007\033[2J\033[31mred\033[0m\x9b2J done\n'", code=0)
    assert "red" in said and "owned" not in said and "\x1b[2J" not in said and "\x9b" not in said


def test_links_in_slug_and_cache_lead_nowhere(yard: Host, evil: str) -> None:
    script = "ln -s / /app/root; ln -s /etc/shadow /app/shadow; ln -s / /work/cache/root; ln -s ../../../etc /app/up"
    pushed(yard, evil, script, code=0)
    said = yard.octo("run", "-a", evil, "--", "sh", "-c", "head -c1 shadow; ls root/root; echo over", code=None)
    assert "over" in said and "root:" not in said
    again = Repository(yard, evil, {**apps.hostile("ls -la /work/cache; ls /work/cache/root/root"), "x": "y"})
    assert "[remote rejected]" in again.push("-f", "main", code=1)


def test_a_cache_is_the_apps_own(yard: Host, evil: str) -> None:
    secret = os.urandom(8).hex()
    pushed(yard, evil, f"echo {secret} >/work/cache/secret", code=0)
    other = f"{evil}-two"
    said = pushed(yard, other, "ls -la /work /work/cache; grep -r . /work/cache; true", code=0)
    yard.octo("apps:destroy", other, "--confirm", other)
    assert secret not in said
    blobs = [p for p in Path(yard.home, "octo/blobs").rglob("*") if p.is_file()]
    assert all(p.stat().st_mode & 0o077 == 0 for p in blobs)
