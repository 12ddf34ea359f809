"""The Sandbox's promises, kept by LXC and by Docker alike (and by the fake, where it runs anything)."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from octo.errors import Unavailable
from octo.ports import Ended, SandboxSpec, StackVersion, Streams, Strike
from octo.sandbox.repositories import tidy
from tests.contract.sandbox_parts import (
    APP,
    LIMITS,
    MB,
    RESOLV,
    STACK,
    UID,
    Bench,
    Running,
    bench,
    commands,
    with_limits,
)
from tests.fakes import FakeSandbox

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param) as made:
        yield made


def test_the_fake_runs_stops_and_sweeps() -> None:
    seen: list[str] = []
    sandbox = FakeSandbox(lambda spec, streams: seen.append(spec.id) or 3)  # type: ignore[func-returns-value]
    sandbox.left = {"b001"}
    assert sandbox.run(SandboxSpec("b000", "a", (), {}, "", LIMITS), Streams(0, 1, 2)).code == 3
    assert sandbox.sweep(()) == ["b001"] and sandbox.sweep(()) == [] and seen == ["b000"]


@pytest.mark.row("C1")
def test_streams_and_exit_code_are_the_programs_own_and_nothing_is_left(box: Bench) -> None:
    ran = box.run(box.spec("/bin/sh", "-c", "cat; echo oops >&2; exit 7"), b"in\0out\n")
    assert (ran.ended, ran.out, ran.err) == (Ended(7), "in\0out\n", "oops\n")
    assert not box.left()


def test_a_signal_that_ends_the_program_is_in_its_code(box: Bench) -> None:
    assert box.shell("kill -TERM $$").ended == Ended(143)


@pytest.mark.row("C9")
def test_the_environment_is_what_was_given_and_a_path(box: Bench) -> None:
    ran = box.run(box.spec("/usr/bin/env", env={"REQUEST_ID": "x y", "A": "1=2"}))
    assert sorted(ran.out.splitlines()) == ["A=1=2", f"PATH={PATH}", "REQUEST_ID=x y"]
    assert box.run(box.spec("/usr/bin/env", env={"PATH": "/bin"})).out == "PATH=/bin\n"


def test_no_descriptor_but_the_three_gets_in(box: Bench) -> None:
    secret = os.open("/etc/shadow", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        ran = box.python("import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd')))")
    finally:
        os.close(secret)
    assert ran.out == "[0, 1, 2, 3]\n"  # the last one is that of listdir itself


def test_a_guest_file_runs_in_the_first_interpreter(box: Bench) -> None:
    ran = box.run(box.spec("/octo/receiver.py", "git-upload-pack", "", env={"HOME": "/tmp"}), b"0000")
    assert ran.ended == Ended(0) and ran.out == "0000"


def test_a_receiver_has_the_repository_and_the_next_one_finds_it(box: Bench) -> None:
    assert box.shell("test ! -e /work/x && echo kept > /app/repo.git/file").ended == Ended(0)
    assert box.shell("cat /app/repo.git/file; ls /octo-buildpacks").said.startswith("kept\n")
    assert (box.repository / "file").stat().st_uid == UID and not box.attached


def test_a_receiver_may_have_a_repository_that_goes_with_it(box: Bench) -> None:
    spec = replace(
        box.spec("/bin/sh", "-c", "touch /app/repo.git/x && df -B1 --output=size /app/repo.git"), mounted=False
    )
    ran = box.run(spec)
    assert ran.ended == Ended(0) and int(ran.out.split()[1]) < 2 * LIMITS.disk
    assert not box.repository.exists() and not box.left()


def test_a_build_has_an_empty_app_and_work_on_one_disk_and_the_buildpacks(box: Bench) -> None:
    script = (
        "find /app /work -mindepth 1; ls /octo-buildpacks; touch /app/a /work/b && ln /app/a /app/c; stat -c %u /app/a"
    )
    ran = box.shell(f"{script}; stat -c %d /app /work | uniq | wc -l; ls /app/repo.git", build=True)
    assert "python" in ran.out and f"\n{UID}\n1\n" in ran.out and "No such file" in ran.err
    assert "/app" not in ran.out and not box.repository.exists() and not box.left()


def test_a_builds_network_is_put_in_before_it_runs_and_taken_away_after(box: Bench) -> None:
    ran = box.shell("readlink /proc/self/ns/net; ls /sys/class/net; cat /etc/resolv.conf", build=True)
    assert [id for id, _ in box.attached] == ["b000"] and box.detached == ["b000"]
    assert "lo\n" in ran.out and "eth" not in ran.out and ran.out.endswith(RESOLV)


def test_the_loopback_of_a_sandbox_is_up(box: Bench) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    script = listen + "socket.create_connection(s.getsockname()); print('up')"
    assert box.python(script).out == "up\n"


def test_a_build_may_run_what_it_wrote_in_tmp_and_a_receiver_may_not(box: Bench) -> None:
    script = "cp /bin/true /tmp/t && /tmp/t && echo ran"
    assert box.shell(script, build=True).out == "ran\n"
    assert "Permission denied" in box.shell(script).err


def test_python_can_use_processes_and_locks_in_a_build(box: Bench) -> None:
    script = "from multiprocessing import Pool\nif __name__ == '__main__': print(sum(Pool(2).map(abs, [-1, -2])))"
    assert box.python(script, build=True).out == "3\n"


@pytest.mark.row("C11")
def test_the_wall_clock_ends_it(box: Bench) -> None:
    assert box.shell("exec sleep inf", limits=with_limits(seconds=1)).ended == Ended(124, Strike.SECONDS)
    assert not box.left()


@pytest.mark.parametrize("build", [False, True])
def test_a_stop_kills_all_that_runs_in_it(box: Bench, build: bool) -> None:
    spec = box.spec("/bin/sh", "-c", f"setsid sleep 12345{os.getpid()} & trap '' TERM; echo up; sleep inf", build=build)
    with Running(box, spec) as running:
        assert running.words == b"up\n"
        box.sandbox.stop("b000")
        assert not [c for c in commands() if f"sleep 12345{os.getpid()}" in c]
        assert running.wait() == Ended(137)
    box.sandbox.stop("b000")
    assert not box.left()


def test_a_stop_before_the_program_runs_is_a_stop(box: Bench) -> None:
    """The network is attached after the sandbox has come up and before the program starts."""
    spec = box.spec("/bin/echo", "ran", build=True)
    stopper = threading.Thread(target=lambda: box.sandbox.stop("b000"))

    class Attached(list[tuple[str, int]]):
        def append(self, one: tuple[str, int]) -> None:
            stopper.start()
            box.sandbox._alive["b000"].door._stopped.wait()  # type: ignore[attr-defined]

    box.attached = Attached()
    assert box.run(spec).ended == Ended(137)
    stopper.join()
    assert not box.left()


def test_only_its_own_processes_belong_to_a_sandbox(box: Bench) -> None:
    with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf", build=True)):
        (_, first) = box.attached[0]
        assert box.sandbox.owns("b000", first) and not box.sandbox.owns("b000", os.getpid())
        assert not box.sandbox.owns("b00", first) and not box.sandbox.owns("b001", first)
    assert not box.sandbox.owns("b000", os.getpid())


def test_who_calls_its_socket_from_outside_gets_no_streams(box: Bench) -> None:
    """The door of a sandbox looks at the caller's control group before it hands the descriptors over."""
    spec = box.spec("/bin/sh", "-c", "echo ran", build=True)
    stranger = socket.socket(socket.AF_UNIX)
    make = box.sandbox._cells.make  # type: ignore[attr-defined]

    def call(given: SandboxSpec) -> object:
        stranger.connect(f"{spec.socket_dir}/streams.sock")
        return make(given)

    box.sandbox._cells.make = call  # type: ignore[attr-defined]
    assert box.run(spec).out == "ran\n"
    assert stranger.recvmsg(10, socket.CMSG_SPACE(12))[:2] == (b"", [])
    stranger.close()


def test_two_sandboxes_run_at_once(box: Bench) -> None:
    with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf")):
        ran = box.run(box.spec("/bin/sh", "-c", "ps -e | wc -l", id="b001"))
        assert ran.ended == Ended(0) and int(ran.out) < 8  # it sees its own processes alone


def test_a_missing_stack_is_told_with_what_to_do(box: Bench) -> None:
    box.sandbox = box.made(StackVersion("no-such", "no-such", "octo/no-such-stack", "/nowhere", 0, 0))
    with pytest.raises(Unavailable) as refused:
        box.run(box.spec("/bin/true"))
    assert "./setup stack" in refused.value.hint and not box.left()
    box.sandbox = box.made(STACK)


def test_a_repository_is_forgotten_whole_and_tidied_without_following_links(box: Bench, tmp_path: Path) -> None:
    box.shell("mkdir -p /app/repo.git/objects/tmp_objdir-x/y; touch /app/repo.git/refs.lock")
    box.shell(f"ln -s {tmp_path} /app/repo.git/link")
    (tmp_path / "other.lock").touch()
    tidy(box.repository)
    assert sorted(p.name for p in box.repository.iterdir()) == ["link", "objects"]
    box.sandbox.forget(APP)
    assert not box.repository.exists() and (tmp_path / "other.lock").exists()


def test_no_id_leads_out_of_the_folder(box: Bench) -> None:
    for id in ("../x", "a/b", "", "UPPER", "a" * 65):
        with pytest.raises(ValueError, match="BUG"):
            box.sandbox.forget(id)
        with pytest.raises(ValueError, match="BUG"):
            box.sandbox.run(replace(box.spec("/bin/true"), id=id), Streams(0, 1, 2))


def test_a_killed_receiver_leaves_no_locks_in_the_repository(box: Bench) -> None:
    spec = box.spec("/bin/sh", "-c", "touch /app/repo.git/x.lock /app/repo.git/y; echo up; exec sleep inf")
    with Running(box, spec):
        assert (box.repository / "x.lock").exists()
    assert [f.name for f in box.repository.iterdir()] == ["y"]


def test_sizes_are_those_of_the_limits(box: Bench) -> None:
    limits = replace(LIMITS, open_files=777)
    ran = box.shell(
        "df -B1 --output=size /tmp | tail -1; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj", limits=limits
    )
    assert ran.out.split() == [str(32 * MB), "777", "0", "1000"]
