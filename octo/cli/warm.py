"""The warm process: everything imported, the commands built; each command is a fork of it.

    python -m octo.cli.warm --fd N --api PATH [--uid UID]

Descriptor N is a SOCK_SEQPACKET to octod. A packet is the body of a wire message of the kind "run": the fields token,
actor, from, term, columns, lines, tty, remotes, refused (words for the caller instead of a command), the words of the
command, and four descriptors: the caller's stdin, stdout, stderr, and a socket to octod of this command's own. On that
come "run\\n" before anything is done and "exit N\\n" at the end; when octod hangs it up, the command ends. One thread,
and it waits for nobody: it holds no file, no right and no secret but those of the packet in its hands.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitreceive import wire
from octo.cli import perform, rehearse

PACKET = 190 * 1024  # bytes; Linux refuses more than a send buffer of 208 KB holds
DESCRIPTORS = 4
PATIENCE = 2.0  # seconds between SIGHUP and SIGKILL
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Job:
    fields: Mapping[str, str]
    words: Sequence[str]
    descriptors: Sequence[int]


@dataclass
class Child:
    pid: int
    control: socket.socket
    deadline: float | None = None  # monotonic; after it SIGKILL


class Warm:
    """Takes jobs from octod, forks, and tells how each child ended."""

    def __init__(self, octod: socket.socket, perform: Callable[[Job], int]) -> None:
        self._octod, self._perform = octod, perform
        self._children: dict[int, Child] = {}  # by pid
        self._poll = select.poll()

    def serve(self) -> None:
        """Return when octod has gone and no child is left."""
        wake = _wake_on_child()
        self._poll.register(self._octod, select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        serving = True
        while serving or self._children:
            ready = {number for number, _ in self._poll.poll(self._timeout())}
            if wake in ready:
                os.read(wake, 4096)
            self._reap()
            for child in [c for c in self._children.values() if c.control.fileno() in ready]:
                self._hang_up(child)
            if serving and self._octod.fileno() in ready:
                serving = self._take()
            self._kill_overdue()

    def _timeout(self) -> int | None:
        """Milliseconds."""
        deadlines = [c.deadline for c in self._children.values() if c.deadline is not None]
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1) if deadlines else None

    def _take(self) -> bool:
        """Start the next job; False when octod has gone."""
        try:
            body, descriptors, flags, _ = socket.recv_fds(self._octod, PACKET + 1, DESCRIPTORS)
        except OSError:
            body, descriptors, flags = b"", [], 0
        if not body:
            wire.close(descriptors)
            self._poll.unregister(self._octod)
            for child in self._children.values():
                self._hang_up(child)
            return False
        try:
            if not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) and len(descriptors) == DESCRIPTORS:
                _, fields, words = wire.unpack(body)
                self._start(Job(fields, words, descriptors))
        except (wire.Malformed, OSError) as error:
            sys.stderr.write(f"warm: a command was not started: {error}\n")
        finally:
            wire.close(descriptors)
        return True

    def _start(self, job: Job) -> None:
        control = socket.socket(fileno=os.dup(job.descriptors[3]))
        try:
            control.setblocking(False)
            control.send(b"run\n")
            pid = os.fork()
        except OSError:
            control.close()
            raise
        if pid == 0:
            _become(job, self._perform)
        _own_group(pid)
        self._children[pid] = Child(pid, control)
        self._poll.register(control, 0)  # POLLHUP comes unasked

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):  # octod has hung up
                child.control.send(f"exit {code if code >= 0 else 128 - code}\n".encode())
            if child.deadline is None:
                self._poll.unregister(child.control)
            child.control.close()

    def _hang_up(self, child: Child) -> None:
        if child.deadline is None:
            self._poll.unregister(child.control)
            child.deadline = time.monotonic() + PATIENCE
            _signal(child, signal.SIGHUP)

    def _kill_overdue(self) -> None:
        for child in self._children.values():
            if child.deadline is not None and child.deadline <= time.monotonic():
                _signal(child, signal.SIGKILL)
                child.deadline = time.monotonic() + PATIENCE


def _signal(child: Child, number: int) -> None:
    """To all of its group: it is not reaped yet, so the number is still its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _wake_on_child() -> int:
    """A descriptor that becomes readable when a child has ended."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return reader


def _own_group(pid: int) -> None:
    """Called by both sides: whichever comes first."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)


def _become(job: Job, perform: Callable[[Job], int]) -> None:
    """In the child: nothing but the caller's three streams, then the command. Does not return."""
    code = 1
    try:
        parent = os.getppid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _own_group(os.getpid())
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent != 1:
            for number, descriptor in enumerate(_above(job.descriptors[:3])):
                os.dup2(descriptor, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            code = perform(job)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the child must not return into the parent's loop
        os.write(2, f" !     cannot go on: octo has a mistake ({type(error).__name__})\n".encode())
    finally:
        os._exit(code & 255)


def _above(descriptors: Sequence[int]) -> list[int]:
    """The same streams at numbers that dup2 to 0, 1, 2 does not overwrite."""
    return [os.dup(number) if number < 3 else number for number in descriptors]


def prepare(uid: int | None) -> None:
    """Import and build all, then give up every right, then make forks cheap."""
    rehearse()
    if uid is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.umask(0o077)
    gc.collect()
    gc.freeze()  # else the first collection in a child copies every page


def main() -> None:
    parser = argparse.ArgumentParser(prog="octo.cli.warm")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--api", type=Path, required=True)
    parser.add_argument("--uid", type=int)
    given = parser.parse_args()
    octod = socket.socket(fileno=given.fd)
    os.set_inheritable(given.fd, False)
    prepare(given.uid)
    Warm(octod, lambda job: perform(given.api, job.fields, job.words)).serve()


if __name__ == "__main__":
    main()
