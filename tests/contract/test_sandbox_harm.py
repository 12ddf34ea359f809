"""What a hostile program tries in a sandbox of either kind, at either kind of work: all of it comes to nothing."""

import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.ports import Ended
from tests.contract.sandbox_parts import APP, UID, Bench, Running, bench

# Each line of its output is one attempt: its name, and what came of it.
TRICKS = """
import ctypes, errno, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
CALLS = {"bpf": 321, "keyctl": 250, "io_uring_setup": 425, "userfaultfd": 323, "perf_event_open": 298, "clone3": 435,
         "add_key": 248, "open_by_handle_at": 304, "kexec_load": 246, "init_module": 175, "pidfd_getfd": 438,
         "process_vm_readv": 310, "fsopen": 430, "quotactl": 179, "syslog": 103, "kcmp": 312, "name_to_handle_at": 303,
         "mount_setattr": 442, "move_mount": 429, "open_tree": 428, "fsconfig": 431, "fspick": 433, "fsmount": 432,
         "io_uring_enter": 426, "swapon": 167, "reboot": 169, "settimeofday": 164, "clock_settime": 227, "acct": 163,
         "adjtimex": 159, "vhangup": 153, "iopl": 172, "modify_ldt": 154, "kexec_file_load": 320, "finit_module": 313,
         "delete_module": 176, "fanotify_init": 300, "process_vm_writev": 311, "memfd_secret": 447}
def attempt(name, act):
    try:
        ctypes.set_errno(0)
        got = act()
        bad = isinstance(got, int) and got < 0
        print(name, errno.errorcode[ctypes.get_errno()] if bad else "DONE", flush=True)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)
for name, number in CALLS.items():
    attempt("call:" + name, lambda: libc.syscall(number, 0, 0, 0, 0, 0, 0))
class Two(ctypes.Structure): _fields_ = [("a", ctypes.c_uint32), ("b", ctypes.c_int32)]
attempt("capset", lambda: libc.capset(ctypes.byref(Two(0x20080522, 0)), (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)))
attempt("ambient capability", lambda: libc.prctl(47, 2, 13, 0, 0))
attempt("bounding set", lambda: libc.prctl(24, 13, 0, 0, 0))
attempt("securebits", lambda: libc.prctl(28, 1, 0, 0, 0))
open("/tmp/f", "w")
rights = bytes.fromhex("0100000202" + "00" * 15)
attempt("file capability", lambda: os.setxattr("/tmp/f", "security.capability", rights))
attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
attempt("remount", lambda: libc.mount(None, b"/usr", None, 32 | 4096, None))
attempt("umount", lambda: libc.umount2(b"/usr", 2))
attempt("pivot_root", lambda: libc.syscall(155, b"/tmp", b"/tmp"))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("unshare", lambda: libc.unshare(0x10000000))
attempt("clone", lambda: libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))
attempt("setns", lambda: libc.setns(os.open("/proc/self/ns/net", 0), 0))
attempt("mknod", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(7, 0)))
attempt("setuid", lambda: os.setuid(0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chown", lambda: (open("/tmp/f", "w"), os.chown("/tmp/f", 0, 0)))
attempt("sethostname", lambda: socket.sethostname("x"))
attempt("ptrace", lambda: libc.ptrace(16, 1, 0, 0))
attempt("memory of 1", lambda: open("/proc/1/mem", "r+b"))
attempt("environment of 1", lambda: open("/proc/1/environ").read())
attempt("descriptors of 1", lambda: os.listdir("/proc/1/fd"))
attempt("root of 1", lambda: os.listdir("/proc/1/root/"))
attempt("nice", lambda: os.nice(-5))
attempt("oom", lambda: open("/proc/1/oom_score_adj", "w").write("-1"))
for name, path in (("sysctl", "/proc/sys/kernel/hostname"), ("core", "/proc/sys/kernel/core_pattern"),
                   ("sysrq", "/proc/sysrq-trigger"), ("sys", "/sys/kernel/uevent_helper"),
                   ("cgroup", "/sys/fs/cgroup/memory/memory.limit_in_bytes"), ("drop", "/proc/sys/vm/drop_caches")):
    attempt(name, lambda: open(path, "w").write("0"))
for name, family, kind, protocol in (("raw", 2, 3, 1), ("packet", 17, 3, 0), ("vsock", 40, 1, 0), ("alg", 38, 5, 0),
                                     ("netfilter", 16, 3, 12), ("bluetooth", 31, 3, 1), ("xdp", 44, 3, 0)):
    attempt(name, lambda: socket.socket(family, kind, protocol))
for name, path in (("kcore", "/proc/kcore"), ("kmsg", "/proc/kmsg"), ("mem", "/dev/mem"), ("vda", "/dev/vda"),
                   ("loop", "/dev/loop-control"), ("fuse", "/dev/fuse"), ("kvm", "/dev/kvm"), ("dmesg", "/dev/kmsg")):
    attempt(name, lambda: len(open(path, "rb").read(10)) or -1)
"""
SET_UID = "cp /usr/bin/id {0}/id; chmod 6755 {0}/id; {0}/id -ru; {0}/id -u; stat -c %a {0}/id"
WRITABLE = r"""find / -xdev -path /proc -prune -o -path /sys -prune -o -writable ! -type l -print 2>/dev/null
for mount in $(awk '$4 ~ /^rw/ { print $2 }' /proc/mounts); do test ! -w $mount || echo $mount; done"""


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param) as made:
        yield made


@pytest.mark.row("C1", "C2", "C3")
@pytest.mark.parametrize("build", [False, True])
def test_no_trick_works(box: Bench, build: bool) -> None:
    ran = box.python(TRICKS, build=build)
    came = dict(line.rsplit(" ", 1) for line in ran.out.splitlines())
    assert ran.ended == Ended(0) and len(came) > 80
    # Its own namespaces' /proc/1/root would be nothing new; the others would.
    assert not {name for name, what in came.items() if what == "DONE"}, came
    assert set(came.values()) <= {
        *(
            "EPERM",
            "EACCES",
            "ENOSYS",
            "EROFS",
            "ENOENT",
            "EAFNOSUPPORT",
            "EINVAL",
            "EPROTONOSUPPORT",
            "ENXIO",
            "ENODEV",
        )
    }
    assert {what for name, what in came.items() if name.startswith("call:")} == {"EPERM", "ENOSYS"}, came
    assert came["call:clone3"] == "ENOSYS" and came["vsock"] == "EAFNOSUPPORT"


@pytest.mark.row("C2")
@pytest.mark.parametrize("build", [False, True])
def test_nobody_gets_rights_by_a_set_uid_file(box: Bench, build: bool) -> None:
    here = "/app" if build else "/app/repo.git"
    if not build:
        box.shell("true")
        planted = box.repository / "id"
        planted.write_bytes(Path("/usr/bin/id").read_bytes())
        os.chown(planted, 0, 0)
        planted.chmod(0o6755)
    script = SET_UID.format(here) if build else f"{here}/id -ru; {here}/id -u; stat -c %a {here}/id"
    assert box.shell(script, build=build).out.split() == [str(UID), str(UID), "6755"]
    status = box.shell("cat /proc/self/status", build=build).out
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert all(f"Cap{c}:\t0000000000000000" in status for c in ("Inh", "Prm", "Eff", "Bnd", "Amb"))


@pytest.mark.row("C2")
def test_nobody_gets_rights_by_a_files_own_capabilities(box: Bench) -> None:
    box.shell("true")
    planted = box.repository / "cat"
    planted.write_bytes(Path("/usr/bin/cat").read_bytes())
    planted.chmod(0o755)
    rights = 1 << 1 | 1 << 13 | 1 << 21  # whatever files say, raw packets, and nearly everything else
    os.setxattr(planted, "security.capability", struct.pack("<5I", 0x02000000, rights, 0, 0, 0))
    said = subprocess.run([planted, "/proc/self/status"], user=UID, capture_output=True, text=True, check=True).stdout
    assert f"CapPrm:\t{rights:016x}" in said, "and out here they count"
    assert "CapPrm:\t0000000000000000" in box.shell("/app/repo.git/cat /proc/self/status").out


@pytest.mark.row("C3")
def test_nothing_can_be_written_but_what_a_sandbox_has(box: Bench) -> None:
    devices = {"full", "null", "random", "tty", "urandom", "zero", "ptmx", "pts/ptmx"}
    for build, own in ((False, {"/app/repo.git"}), (True, {"/app", "/work", "/dev/shm"})):
        found = set(box.shell(WRITABLE, build=build).out.split())
        odd = {f for f in found if f not in {*own, "/tmp", "/dev", *(f"/dev/{d}" for d in devices)}}
        odd = {f for f in odd if not f.startswith(tuple(f"{o}/" for o in own))}
        # Docker hides two files behind /dev/null; message queues count as memory.
        assert not odd - {"/dev/mqueue", "/proc/keys", "/proc/timer_list"}, found
        said = box.shell("touch /x /usr/x /etc/x /var/x /octo/x /run/octo/x /dev/x /sys/x /proc/x", build=build).err
        assert said.count("cannot touch") == 9


@pytest.mark.row("C3")
def test_nothing_of_the_host_is_in_it(box: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the host's own")
    (tmp_path / "secret").chmod(0o644)
    script = f"cat {tmp_path}/secret {box.folder}/* /etc/shadow /root/* /proc/1/root{tmp_path}/secret"
    script += "; ls /var/run/docker.sock /run/docker.sock /run/containerd /var/lib/docker /var/lib/lxc /home/* /boot/*"
    script += f"; ls {box.folder.parent}; ls -A /root; cat /proc/*/environ; mount; cat /etc/hostname /etc/machine-id"
    for build in (False, True):
        said = box.shell(script, build=build).said
        assert "the host's own" not in said and "root:" not in said
        assert said.count("No such file") + said.count("Permission denied") >= 10
        assert socket.gethostname() not in said.split()
    assert box.shell("ps -eo comm=").out.split()[1:] == ["sh", "ps"]


@pytest.mark.row("C14")
def test_another_apps_repository_is_out_of_reach(box: Bench) -> None:
    other = box.folder / "repos" / "beef.git"
    other.mkdir(mode=0o700)
    os.chown(other, UID, UID)
    (other / "secret").write_text("another app's own")
    ways = f"{other} /proc/1/root{other} ../../beef.git ../beef.git"
    links = f"for to in {ways}; do ln -s $to/secret link; cat link; rm link; done"
    ran = box.shell(f"cd /app/repo.git; {links}; find / -name 'beef*' -o -name secret; ls /app")
    assert ran.out == "repo.git\n" and ran.err.count("cat: link") == 4


def test_links_in_a_repository_lead_nowhere_on_the_host(box: Bench) -> None:
    (box.folder / "state").mkdir(exist_ok=True)
    target = box.folder / "target"
    target.mkdir(mode=0o777)
    (target / "keep.lock").touch()
    box.shell(f"ln -s {target} /app/repo.git/tmp_objdir-x; ln -s {target}/keep.lock /app/repo.git/a.lock; exit 1")
    assert (target / "keep.lock").exists() and not (box.repository / "a.lock").is_symlink()
    box.sandbox.forget(APP)
    assert (target / "keep.lock").exists() and not box.repository.exists()


def test_no_process_outside_can_be_seen_or_signalled(box: Bench) -> None:
    victim = subprocess.Popen(["sleep", "inf"], user=UID, group=UID)  # of the very same uid
    try:
        with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf", id="b001")):
            script = (
                f"kill -9 {victim.pid} 2>&1; for p in $(seq 2 9); do kill -0 $p && cat /proc/$p/comm; done; kill -9 -1"
            )
            said = box.shell(script).said
        assert "No such process" in said and "sleep" not in said and victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_what_a_sandbox_was_given_is_in_no_configuration(box: Bench) -> None:
    """Signed URLs and the like come over the socket: neither `docker inspect` nor a file nor `ps` shows them."""
    spec = box.spec("/bin/sh", "-c", "echo up; exec sleep inf", "the-argument", env={"SECRET": "the-secret"})
    with Running(box, spec):
        files = "".join(f.read_text(errors="replace") for f in (box.folder / "state").rglob("*") if f.is_file())
        argv = ["docker", "inspect", *box.containers()]
        inspected = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        assert "the-secret" not in files + inspected and "the-argument" not in files + inspected
        assert bool(json.loads(inspected or "[]")) == (box.kind == "docker")


def test_the_first_process_cannot_be_steered(box: Bench) -> None:
    script = "for s in INT TERM HUP USR1 STOP KILL; do kill -$s 1; done; cat /proc/1/mem; echo x > /proc/1/comm; exit 5"
    assert box.shell(script).ended == Ended(5)


def test_endless_output_is_not_held_back_or_kept(box: Bench) -> None:
    """Who reads it ends it: the sandbox itself copies no byte."""
    with Running(box, box.spec("/usr/bin/yes")) as running:
        assert running.words.startswith(b"y\ny\n")
        box.sandbox.stop("b000")
        assert running.wait() == Ended(137)
