#!/usr/bin/python3 -IS
"""The pre-receive hook: tells octod what came in, sends the files, relays what octod says, ends as octod says.

Four calls over the receiver's own Unix socket, each to a URL that works once (the environment has them):
CALLBACK_URL <- the refs, -> what to build; BUILD_PUT_URL <- the files, -> the build's output;
BUILD_CALLBACK_URL <- how it ended; ROUTE_URL -> the deploy's output. Each answer is text for the pusher and, last,
a NUL and the verdict: "build COMMIT FILES APP" (how many it may hold, and the app's name), "exit N", or
"refuse REF...", which the hook `update` carries out. A push of several branches is built one after the other: after
each the answer to ROUTE_URL, or to BUILD_CALLBACK_URL of a build that failed, says what comes next.
Copied into the sandbox; standard library only.
"""

import _socket
import json
import os
import sys

TYPE_CHECKING = False  # `typing` costs 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

SOCKET = "/run/octo/octo.sock"
REFUSED = "/tmp/octo.refused"  # refs, a line each
CHUNK = 256 * 1024  # bytes
MAX_TEXT = 64 * 1024  # bytes
MAX_PATH = 3900  # bytes: what is longer cannot be checked out. Source: PATH_MAX, less the folder above

env = os.environ


def main() -> int:
    lines = os.fsdecode(sys.stdin.buffer.read()).split("\n")  # a ref may hold what else ends lines in Unicode
    words = [line.split(" ") for line in lines if line]
    if any(len(each) != 3 or not each[2].startswith("refs/") for each in words):  # git itself looks at names later
        print(" !     cannot take the push: it names a ref that is none", flush=True)
        return 1
    updates = [{"old": old, "new": new, "ref": ref} for old, new, ref in words]
    word, _, rest = call(env["CALLBACK_URL"], [json.dumps(updates).encode()]).partition(" ")
    while word == "build":
        code = build(*rest.split(" "))
        ended = {"status": "failed" if code else "succeeded", "exit": code}
        answer = call(env["BUILD_CALLBACK_URL"], [json.dumps(ended).encode()])
        word, _, rest = (answer if code else call(env["ROUTE_URL"], [])).partition(" ")
    if word == "refuse":
        with open(REFUSED, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(ref + "\n" for ref in rest.split(" "))
        return 0
    return int(rest)


def build(commit: str, files: str, app: str) -> int:
    try:
        source = look(commit, int(files))
    except Refused as why:
        print(f" !     cannot build: {why}", flush=True)
        return 1
    except TooMany:
        print(f" !     cannot build: the commit holds more than {files} files and folders, the limit", flush=True)
        print(f" !     Push fewer, or ask the operator: octo limits:set {app} files={2 * int(files)}", flush=True)
        return 1
    answer = call(env["BUILD_PUT_URL"], context(json.dumps(source).encode() + b"\n", commit))
    return int(answer.partition(" ")[2])


class Refused(Exception):
    pass


class TooMany(Exception):
    pass


def look(commit: str, files: int) -> "dict[str, object]":
    """What octod must know before the files come."""
    modes, links = listed(commit, files)
    source: dict[str, object] = {"commit": commit, "dockerfile": None, "procfile": None, "submodules": []}
    for name in ("Dockerfile", "Procfile", "CNAME"):
        if name not in modes:
            continue
        if modes[name] not in ("100644", "100755"):
            raise Refused(f"{name} is not a regular file")
        source[name.lower()] = git("cat-file", "blob", f"{commit}:{name}")[: MAX_TEXT + 1].decode("utf-8", "replace")
    if links:
        urls = addresses(commit) if modes.get(".gitmodules", "").startswith("100") else {}
        source["submodules"] = [{"path": p, "commit": c, "url": urls.get(p, "")} for p, c in links]
    return source


def listed(commit: str, most: int) -> "tuple[dict[str, str], list[tuple[str, str]]]":
    """The modes of what lies at the top, and the submodules as (path, commit).

    A bomb of trees is left early: folders count too, as git walks through those that hold nothing but more of them.
    """
    top: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    count, folders, rest = 0, 0, b""
    for chunk in output("ls-tree", "-r", "-t", "-z", "--full-tree", commit):
        *entries, rest = (rest + chunk).split(b"\0")
        count += len(entries)
        if count > most:
            raise TooMany
        if len(rest) > MAX_PATH or any(len(entry) > MAX_PATH for entry in entries):
            raise Refused(f"the commit holds a path of more than {MAX_PATH} bytes")
        for entry in entries:
            head, name = entry.split(b"\t", 1)
            if b"/" not in name:
                top[os.fsdecode(name)] = head[:6].decode()
            folders += head.startswith(b"040000")
            if head.startswith(b"160000"):
                links.append((os.fsdecode(name), head.split()[2].decode()))
    if count == folders:
        raise Refused("the commit holds no files, so there is nothing to deploy")
    return top, links


def addresses(commit: str) -> "dict[str, str]":
    """The URL of each path that .gitmodules names."""
    by_name: dict[bytes, dict[bytes, bytes]] = {}
    words = ("config", "-z", "--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
    for entry in b"".join(output(*words, ok=(0, 1))).split(b"\0"):
        key, _, value = entry.partition(b"\n")
        name, _, field = key.rpartition(b".")
        by_name.setdefault(name, {})[field] = value
    return {os.fsdecode(f[b"path"]): os.fsdecode(f[b"url"]) for f in by_name.values() if b"path" in f and b"url" in f}


def context(head: bytes, commit: str) -> "Iterator[bytes]":
    yield head
    yield from output("archive", "--format=tar", commit)


def git(*words: str) -> bytes:
    return b"".join(output(*words))


def output(*words: str, ok: "tuple[int, ...]" = (0,)) -> "Iterator[bytes]":
    """What a git command prints, in chunks. By hand: importing `subprocess` takes longer than the command."""
    reader, writer = os.pipe()
    child = os.posix_spawn("/usr/bin/git", ["git", *words], env, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe:
        while chunk := pipe.read(CHUNK):
            yield chunk
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) not in ok:
        lost(f"git {words[0]} failed in the repository")


def call(url: str, body: "Iterable[bytes]") -> str:
    """PUT the chunks, copy the answer's text to the pusher as it comes, and return its verdict."""
    path = "/" + url.split("://", 1)[1].split("/", 1)[1]
    octod = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    octod.connect(SOCKET)
    octod.sendall(f"PUT {path} HTTP/1.1\r\nHost: octo\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    try:
        for chunk in body:
            octod.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        octod.sendall(b"0\r\n\r\n")
    except BrokenPipeError:
        pass  # octod has answered already: a refusal does not wait for all the files
    return relay(octod)


def relay(octod: "_socket.socket") -> str:
    """Read a chunked answer; its last NUL starts the verdict."""
    buffer, text = b"", b""
    while b"\r\n\r\n" not in buffer:
        buffer += more(octod)
    head, buffer = buffer.split(b"\r\n\r\n", 1)
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        lost("octod refused the call: " + head.split(b"\r\n", 1)[0].decode("ascii", "replace"))
    while True:
        while b"\r\n" not in buffer:
            buffer += more(octod)
        size, buffer = buffer.split(b"\r\n", 1)
        need = int(size, 16)
        while len(buffer) < need + 2:
            buffer += more(octod)
        part, buffer = buffer[:need], buffer[need + 2 :]
        text += part
        if need == 0:
            verdict = text.rpartition(b"\0")[2].decode().strip()
            return verdict or lost("octod gave no verdict")
        said, nul, verdict_so_far = text.partition(b"\0")
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
        text = nul + verdict_so_far


def more(octod: "_socket.socket") -> bytes:
    return octod.recv(65536) or lost("the connection to octod broke")


def lost(why: str) -> "NoReturn":
    print(f" !     octo: {why}. Nothing was changed unless the lines above say so; push again.", flush=True)
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
