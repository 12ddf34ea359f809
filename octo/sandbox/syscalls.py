"""The list of system calls of sandboxes (lxc/syscalls.toml), as the kernel and as Docker want it."""

import ctypes
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from octo.errors import Unavailable

EPERM, ENOSYS = 1, 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # actions of libseccomp
_EQUAL, _LEAST, _MASKED = 4, 5, 7  # its comparisons
_OPTIMIZE, _TREE = 8, 2  # a binary tree rather than a list


@cache
def compiled(file: Path) -> bytes:
    """The policy as a program for the kernel, struct sock_filter[]. Raises Unavailable.

    LXC would have libseccomp compile it for each container, which takes 18 ms of its 25; so octo does it once, and the
    sandbox's first process puts it in force. Source: seccomp_rule_add(3), seccomp_export_bpf(3).
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise Unavailable(
            "cannot filter system calls: libseccomp is not installed", hint="Run ./setup again."
        ) from None
    library.seccomp_init.restype = ctypes.c_void_p
    program = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | ENOSYS)))
    try:
        library.seccomp_attr_set(program, _OPTIMIZE, ctypes.c_uint32(_TREE))
        for name, action, comparisons in _rules(_read(file)):
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # else this machine has none of that name
                array = (_Comparison * len(comparisons))(*comparisons)
                if library.seccomp_rule_add_array(program, ctypes.c_uint32(action), number, len(comparisons), array):
                    raise Unavailable(f'cannot filter system calls: no rule for "{name}"', hint="See: octo doctor")
        with tempfile.TemporaryFile() as out:
            library.seccomp_export_bpf(program, out.fileno())
            out.seek(0)
            return out.read()
    finally:
        library.seccomp_release(program)


@cache
def for_docker(file: Path) -> Mapping[str, Any]:
    """The policy as the `seccomp=` security option takes it; without `architectures` it is the machine's own alone."""
    given = _read(file)
    calls: list[Mapping[str, Any]] = [
        {"names": list(_names(given["allow"])), "action": "SCMP_ACT_ALLOW"},
        {"names": list(_names(given["refuse"])), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM},
        {"names": list(_names(given["absent"])), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
    ]
    for rule in given["when"]:
        action = (
            {"action": "SCMP_ACT_ERRNO", "errnoRet": rule["errno"]} if "errno" in rule else {"action": "SCMP_ACT_ALLOW"}
        )
        calls.append({"names": [rule["call"]], "args": [_docker_argument(a) for a in rule["arguments"]], **action})
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ENOSYS, "syscalls": calls}


def _read(file: Path) -> Mapping[str, Any]:
    return tomllib.loads(file.read_text())


def _names(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield from line.split()


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _rules(given: Mapping[str, Any]) -> Iterator[tuple[str, int, list[_Comparison]]]:
    for name in _names(given["refuse"]):
        yield name, _ERRNO | EPERM, []
    for name in _names(given["allow"]):
        yield name, _ALLOW, []
    for rule in given["when"]:
        action = _ERRNO | rule["errno"] if "errno" in rule else _ALLOW
        yield rule["call"], action, [_comparison(a) for a in rule["arguments"]]


def _comparison(given: Mapping[str, int]) -> _Comparison:
    if "mask" in given:
        return _Comparison(given["index"], _MASKED, given["mask"], given["equals"])
    if "least" in given:
        return _Comparison(given["index"], _LEAST, given["least"], 0)
    return _Comparison(given["index"], _EQUAL, given["equals"], 0)


def _docker_argument(given: Mapping[str, int]) -> Mapping[str, Any]:
    if "mask" in given:
        value = {"value": given["mask"], "valueTwo": given["equals"], "op": "SCMP_CMP_MASKED_EQ"}
    elif "least" in given:
        value = {"value": given["least"], "op": "SCMP_CMP_GE"}
    else:
        value = {"value": given["equals"], "op": "SCMP_CMP_EQ"}
    return {"index": given["index"], **value}
