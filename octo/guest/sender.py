"""Push a foreign bare repository, which comes as a tar on stdin, to the receiver at the other end of stdout.

    argv: what it is called, for the messages

Nothing of it is trusted: of the tar only objects and refs are kept, by their names, and git works on them with octo's
own configuration, in this sandbox. stdout is a socket whose other end is a git receive-pack; words go to stderr.
Copied into the sandbox; standard library only.
"""

import os
import re
import shutil
import sys
import tarfile

sys.path.insert(0, "/octo")
import receiver  # type: ignore[import-not-found]  # a file beside this one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

REPOSITORY = "/app/repo.git"
LINK = 9  # the descriptor of the socket, for git's own helper git-remote-fd
BORROWS = ("objects/info/alternates", "objects/info/http-alternates")
KEPT = re.compile(
    r"packed-refs|shallow|HEAD|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/pack/pack-[0-9a-f]{40}\.(pack|idx)"
    r"|refs/(heads|tags)/[^\0]{1,200}"
)
REF = re.compile(rb"[0-9a-f]{40} refs/(heads|tags)/[^ ]{1,200}")
PEELED = re.compile(rb"\^[0-9a-f]{40}")


def main(name: str) -> int:
    os.dup2(1, LINK)
    os.dup2(2, 1)
    try:
        kept, borrows = unpacked()
    except (tarfile.TarError, OSError, EOFError) as error:
        return say(f"cannot read the repository {name}: {error}", 1)
    if not kept & {"HEAD", "packed-refs"}:
        return say(f"cannot read the repository {name}: it is none that git made", 1)
    if borrows:
        say(f"{name} borrows objects from another repository: what it has not itself is missing")
    receiver.ready()
    if not heads_or_tags():
        return say(f"{name} is empty: it has no branch and no tag", 0)
    environment = {**os.environ, "HOME": "/tmp", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment |= {"GIT_DIR": REPOSITORY, "GIT_NO_REPLACE_OBJECTS": "1"}
    argv = ["git", "-c", "protocol.fd.allow=always", "push", "--no-verify", "--no-signed", f"fd::{LINK}/{name}"]
    return os.execve("/usr/bin/git", [*argv, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"], environment)


def unpacked() -> "tuple[set[str], bool]":
    """The names of the files that were kept, and whether objects lie elsewhere too."""
    kept = set()
    borrows = False
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            borrows = borrows or name in BORROWS
            if member.isreg() and fit(name):
                put(name, tar.extractfile(member))
                kept.add(name)
    return kept, borrows


def fit(name: str) -> bool:
    words = name.split("/")
    return bool(KEPT.fullmatch(name)) and not any(w in ("", ".", "..") or w.endswith(".lock") for w in words)


def put(name: str, source: "IO[bytes] | None") -> None:
    path = f"{REPOSITORY}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        if source and name == "packed-refs":
            file.writelines(line + b"\n" for line in ours(source.read().split(b"\n")))
        elif source:
            shutil.copyfileobj(source, file)


def ours(lines: "list[bytes]") -> "list[bytes]":
    """Branches and tags, and what annotated tags point at, which stands below each."""
    found: list[bytes] = []
    last = False
    for line in lines:
        last = bool(REF.fullmatch(line)) or (last and bool(PEELED.fullmatch(line)))
        if last or line.startswith(b"# pack-refs"):
            found.append(line)
    return found


def heads_or_tags() -> bool:
    if any(files for _, _, files in os.walk(f"{REPOSITORY}/refs")):
        return True
    try:
        with open(f"{REPOSITORY}/packed-refs", "rb") as file:
            return any(not line.startswith(b"#") for line in file)
    except OSError:
        return False


def say(text: str, code: int = 0) -> int:
    print(f"-----> {text}" if code == 0 else f" !     {text}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
