"""First process of a Docker sandbox: takes its streams from octod, runs one program, reports how it ended.

    argv: a guest file (run in a fork of this interpreter, which saves the start of a second one) or a program

The descriptors come over /run/octo/streams.sock (SCM_RIGHTS), so that git talks to the pusher's own pipes and
neither the engine nor octod copies a byte. Copied into the sandbox; standard library only.
"""

import _socket
import array
import os
import sys

SOCKET = "/run/octo/streams.sock"


def main(argv: "list[str]") -> int:
    octod = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    octod.connect(SOCKET)
    descriptors = array.array("i")
    _, rights, _, _ = octod.recvmsg(1, _socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _, _, data in rights:
        descriptors.frombytes(data)
    child = os.fork()
    if child == 0:
        octod.close()
        become(argv, descriptors.tolist())
    for number in descriptors:
        os.close(number)
    code = reap(child)
    octod.sendall(f"exit {code}\n".encode())
    return code


def become(argv: "list[str]", descriptors: "list[int]") -> None:
    """Run argv with the descriptors as 0, 1 and 2; never returns."""
    code = 126
    try:
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
        for source in descriptors:
            if source > 2:
                os.close(source)
        if argv[0].endswith(".py"):
            sys.argv = argv
            with open(argv[0], encoding="utf-8") as file:
                exec(compile(file.read(), argv[0], "exec"), {"__name__": "__main__", "__file__": argv[0]})
            code = 0
        else:
            os.execvp(argv[0], argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        os.write(2, f" !     octo: the receiver failed: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def reap(child: int) -> int:
    """Wait for the child, and for whatever it orphaned meanwhile; return its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
