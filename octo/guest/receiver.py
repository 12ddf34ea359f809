"""Serve one git command in a sandbox: the repository made ready, the hooks put there, git in our place.

    argv: verb (git-receive-pack, git-upload-pack, git-upload-archive), the git protocol asked for ("" or "version=2")

The configuration is written anew each time, so that nothing a push left in the repository steers the next one.
Copied into the sandbox; standard library only. Settings and their reasons: ARCHITECTURE.md, "The receiver".
"""

import os
import sys

REPOSITORY = "/app/repo.git"
HOOKS = "/octo"  # holds `pre-receive`

CONFIG = f"""\
[core]
	bare = true
	repositoryformatversion = 0
	hooksPath = {HOOKS}
	useReplaceRefs = false
	fsmonitor = false
	protectHFS = true
	protectNTFS = true
	alternateRefsCommand = /bin/true
	bigFileThreshold = 4m
	packedGitLimit = 64m
	logAllRefUpdates = false
[receive]
	fsckObjects = true
	unpackLimit = 1
	advertisePushOptions = false
	denyDeletes = false
	autogc = false
	hideRefs = refs/
	hideRefs = !refs/heads/
	hideRefs = !refs/tags/
[transfer]
	fsckObjects = true
[uploadpack]
	hideRefs = refs/octo
[pack]
	threads = 1
	windowMemory = 16m
[gc]
	auto = 0
[protocol]
	allow = never
[safe]
	directory = {REPOSITORY}
"""


def main(verb: str, protocol: str) -> None:
    ready()
    environment = {**os.environ, "HOME": "/tmp", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment["GIT_NO_REPLACE_OBJECTS"] = "1"
    if protocol:
        environment["GIT_PROTOCOL"] = protocol
    program = verb.removeprefix("git-")
    if program != "receive-pack":
        point_head()
    os.execve("/usr/bin/git", ["git", program, REPOSITORY], environment)


def ready() -> None:
    """An empty folder becomes a bare repository; in any, octo's own configuration is in force."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        os.makedirs(f"{REPOSITORY}/{folder}", exist_ok=True)
    put("config", CONFIG)
    if not os.path.lexists(f"{REPOSITORY}/HEAD"):
        put("HEAD", "ref: refs/heads/main\n")
    for left in ("objects/info/alternates", "objects/info/http-alternates", "config.worktree"):
        if os.path.lexists(f"{REPOSITORY}/{left}"):
            os.unlink(f"{REPOSITORY}/{left}")


def put(name: str, text: str) -> None:
    with open(f"{REPOSITORY}/{name}.octo", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{REPOSITORY}/{name}.octo", f"{REPOSITORY}/{name}")


def point_head() -> None:
    """Let a clone check out the branch that is there."""
    try:
        with open(f"{REPOSITORY}/packed-refs", encoding="utf-8", errors="replace") as file:
            packed = file.read()
    except OSError:
        packed = ""
    for branch in ("main", "master"):
        if os.path.isfile(f"{REPOSITORY}/refs/heads/{branch}") or f" refs/heads/{branch}\n" in packed:
            put("HEAD", f"ref: refs/heads/{branch}\n")
            return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
