"""First process of a sandbox: takes its streams from octod, runs one program, reports how it ended.

    no arguments: what to run comes with the streams

The descriptors come over /run/octo/streams.sock (SCM_RIGHTS), so that git talks to the pusher's own pipes and
neither the engine nor octod copies a byte. With them come the arguments, the environment (which so lies in no
container's configuration) and a system call filter, if any. A guest file (/octo/x.py) is run in a fork of this
interpreter, which saves the start of a second one. When octod goes away, this process ends, and all others with it.
Copied into the sandbox; standard library only.
"""

import _ctypes
import _signal  # type: ignore[import-not-found] # `signal` itself costs 2 ms to import
import _socket
import os
import select
import sys

SOCKET = "/run/octo/streams.sock"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SET_DUMPABLE, SET_SECCOMP, FILTER = 4, 22, 2  # of prctl(2)


def main() -> int:
    calm()
    octod = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    octod.connect(SOCKET)
    descriptors, argv, environment, rules = received(octod)
    wake = woken_by_children()
    # The sandboxed programs have this process's uid: without this they could read and steer it (ptrace, /proc/1/mem).
    prctl(SET_DUMPABLE, 0)
    if rules:
        restrict(rules)
    child = os.fork()
    if child == 0:
        octod.close()
        become(argv, environment, descriptors)
    for number in descriptors:
        os.close(number)
    return attend(child, octod, wake)


def calm() -> None:
    """Whatever the caller left open is not for the programs run here."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.closerange(3, 1024)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)


def received(octod: _socket.socket) -> "tuple[list[int], list[str], dict[str, str], bytes]":
    """What octod sends: 3 descriptors with 12 bytes, the lengths of what follows: argv, environment, rules."""
    head, rights, _, _ = octod.recvmsg(12, _socket.CMSG_SPACE(12))
    descriptors, lengths = [n for _, _, data in rights for n in numbers(data)], numbers(head)
    argv, environment, rules = [exactly(octod, length) for length in lengths]
    pairs = [pair.partition("=") for pair in words(environment)]
    return descriptors, words(argv), {name: value for name, _, value in pairs}, rules


def numbers(data: bytes) -> "list[int]":  # as `array` does it, which costs 3 ms to import
    return [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) - 3, 4)]


def exactly(octod: _socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = octod.recv(length - len(data))
        if not part:
            raise SystemExit(1)  # octod has gone
        data += part
    return data


def words(data: bytes) -> "list[str]":
    return [os.fsdecode(word) for word in data.split(b"\0")[:-1]]


class Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg] # `ctypes` itself costs 3 ms to import
    _type_ = "P"


class Text(_ctypes._SimpleCData):  # type: ignore[type-arg] # a pointer to the bytes that it was made of
    _type_ = "z"


def prctl(what: int, value: int, more: bytes = b"") -> None:
    call = _ctypes.dlsym(_ctypes.dlopen(None, 2), "prctl")  # type: ignore[arg-type] # None: what Python itself has
    if _ctypes.call_function(call, (what, Pointer(value), Text(more or None), Pointer(0), Pointer(0))):
        raise SystemExit(125)


def restrict(rules: bytes) -> None:
    """Put the filter in force for this process and all that come of it. rules: struct sock_filter[]."""
    program = Text(rules)
    address = Pointer.from_address(_ctypes.addressof(program)).value or 0
    order = sys.byteorder
    # struct sock_fprog: how many instructions, and where
    prctl(SET_SECCOMP, FILTER, (len(rules) // 8).to_bytes(2, order) + bytes(6) + address.to_bytes(8, order))


def woken_by_children() -> int:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(writer)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    return reader


def become(argv: "list[str]", environment: "dict[str, str]", descriptors: "list[int]") -> None:
    """Run argv with the descriptors as 0, 1 and 2; never returns."""
    code = 126
    try:
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
        os.closerange(3, 1024)
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        prctl(SET_DUMPABLE, 1)
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # before the first process, which has to tell how it ended
        os.environ.clear()
        os.environ.update({"PATH": PATH, **environment})
        if argv[0].endswith(".py"):
            sys.argv = argv
            with open(argv[0], encoding="utf-8") as file:
                exec(compile(file.read(), argv[0], "exec"), {"__name__": "__main__", "__file__": argv[0]})
            code = 0
        else:
            _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)  # Python itself ignores it
            os.execvp(argv[0], argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        code = 127 if isinstance(error, FileNotFoundError) else code
        os.write(2, f" !     octo: the sandbox failed: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def attend(child: int, octod: _socket.socket, wake: int) -> int:
    """Reap all that ends, tell how the child ended, and stay until octod has looked at what is left of it."""
    poll = select.poll()
    poll.register(octod, select.POLLIN)
    poll.register(wake, select.POLLIN)
    code = 1
    while True:
        for number, _ in poll.poll():
            if number != wake:
                return code  # octod has gone, or has seen enough
            os.read(wake, 512)
            for pid, status in reaped():
                if pid == child:
                    code = os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
                    octod.sendall(f"exit {code}\n".encode())


def reaped() -> "list[tuple[int, int]]":
    """Every process that has ended, with its status."""
    ended = []
    try:
        while (one := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            ended.append(one)
    except ChildProcessError:
        pass
    return ended


if __name__ == "__main__":
    sys.exit(main())
