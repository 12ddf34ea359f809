"""Print one checksum of requirements files and all that they include; end with 1 when they lead out of themselves.

Local folders and repositories may change while the text that names them stays the same.
"""

import hashlib
import os
import re
import sys

_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)")
_ELSEWHERE = re.compile(r"-e\b|--editable|\.{0,2}/|\.$|file:|.*@\s*(file:|git\+|hg\+|svn\+|bzr\+)|(git|hg|svn|bzr)\+")


def add(path: str, seen: "set[str]", digest: "hashlib._Hash") -> None:
    path = os.path.normpath(path)
    if path in seen:
        return
    seen.add(path)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    digest.update(f"{path}\0{text}\0".encode("utf-8", "surrogateescape"))
    if not path.endswith(".txt"):
        return
    for line in map(str.strip, text.splitlines()):
        included = _INCLUDE.match(line)
        if included and "://" not in included[1]:
            add(os.path.join(os.path.dirname(path), included[1]), seen, digest)
        elif included or _ELSEWHERE.match(line):
            sys.exit(1)


def main(paths: "list[str]") -> None:
    digest = hashlib.sha256()
    seen: set[str] = set()
    for path in paths:
        add(path, seen, digest)
    print(digest.hexdigest())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError:
        sys.exit(1)
