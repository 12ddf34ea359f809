"""Serve one git command in a sandbox: the repository made ready, the hooks put there, git in our place.

    argv: verb (git-receive-pack, git-upload-pack, git-upload-archive), the git protocol asked for ("" or "version=2"),
    the bytes that a push may bring; or: octo-archive "" COMMIT PATH, for the files of a commit as a tar, below PATH;
    or: octo-rebuild "" COMMIT REF..., for what the pre-receive hook does with a commit that is there already

The configuration is written anew each time, so that nothing a push left in the repository steers the next one.
Copied into the sandbox; standard library only. Settings and their reasons: ARCHITECTURE.md, "The receiver".
"""

import os
import sys

REPOSITORY = "/app/repo.git"
HOOKS = "/octo"  # holds `pre-receive`
BUNDLED = "/octo/bundled"  # holds `post-receive` too, which stores the repository

CONFIG = f"""\
[core]
	bare = true
	repositoryformatversion = 0
	hooksPath = HOOKS
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


# Sources are what a checkout would give: attributes that are for archives only have no say.
ATTRIBUTES = "* -export-ignore -export-subst\n"


def main(verb: str, protocol: str, *rest: str) -> None:
    ready()
    if not mounted():
        fetch()
    environment = {**os.environ, "HOME": "/tmp", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment["GIT_NO_REPLACE_OBJECTS"] = "1"
    if protocol:
        environment["GIT_PROTOCOL"] = protocol
    if verb == "octo-archive":
        commit, path = rest
        archive = ["git", "-C", REPOSITORY, "archive", "--format=tar", f"--prefix={path}/", "--end-of-options", commit]
        os.execve("/usr/bin/git", archive, environment)
    if verb == "octo-rebuild":
        rebuild(rest[0], rest[1:], environment)
    program = verb.removeprefix("git-")
    if program != "receive-pack":
        point_head()
    # Not in the file: that is written anew by everybody who reads meanwhile.
    most = ("-c", f"receive.maxInputSize={int(rest[0])}") if program == "receive-pack" else ()
    os.execve("/usr/bin/git", ["git", *most, program, REPOSITORY], environment)


def rebuild(commit: str, refs: "tuple[str, ...]", environment: "dict[str, str]") -> None:
    """Become the hook, as if the commit had just come in. commit "": the first of the refs that is there."""
    environment["GIT_DIR"] = REPOSITORY
    wanted = [(commit, refs[0])] if commit else [(ref, ref) for ref in refs]
    for name, ref in wanted:
        argv = ["git", "rev-parse", "--verify", "--quiet", name + "^{commit}"]
        reader, writer = os.pipe()
        child = os.posix_spawn("/usr/bin/git", argv, environment, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        os.close(writer)
        with open(reader, encoding="ascii") as pipe:
            found = pipe.read().split()
        os.waitpid(child, 0)
        if found:
            reader, writer = os.pipe()
            os.write(writer, f"{found[-1]} {found[-1]} {ref}\n".encode())
            os.close(writer)
            os.dup2(reader, 0)
            os.execve(f"{HOOKS}/pre-receive", ["pre-receive"], environment)
    what = f"the commit {commit[:7]}" if commit else "a branch that deploys"
    print(f" !     cannot build: the repository does not have {what} any more. Push it again.", flush=True)
    raise SystemExit(1)


def ready() -> None:
    """An empty folder becomes a bare repository; in any, octo's own configuration is in force."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        os.makedirs(f"{REPOSITORY}/{folder}", exist_ok=True)
    hooks = HOOKS if mounted() else BUNDLED
    put("config", CONFIG.replace("HOOKS", hooks))
    put("info/attributes", ATTRIBUTES)
    if not os.path.lexists(f"{REPOSITORY}/HEAD"):
        put("HEAD", "ref: refs/heads/main\n")
    for left in ("objects/info/alternates", "objects/info/http-alternates", "config.worktree"):
        if os.path.lexists(f"{REPOSITORY}/{left}"):
            os.unlink(f"{REPOSITORY}/{left}")


def mounted() -> bool:
    """Whether the repository lies here as it is; else it is an archive behind a URL."""
    return os.environ.get("REPO_GET_URL", "file:").startswith("file:")


def fetch() -> None:
    sys.path.insert(0, "/octo")
    import bundle  # type: ignore[import-not-found]  # a file beside this one

    try:
        wrong = bundle.fetch(os.environ["REPO_GET_URL"], REPOSITORY)
    except OSError as error:
        print(f" !     cannot fetch the repository: {error}. Try again.", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    if wrong:
        print(f" !     cannot read the stored repository: {wrong}", file=sys.stderr, flush=True)


def put(name: str, text: str) -> None:
    """Write a file, whole in one moment: others may read it, or write it too, at the same time."""
    path = f"{REPOSITORY}/{name}"
    try:
        with open(path, "rb") as file:
            if file.read(len(text) + 100) == text.encode():
                return
    except OSError:
        pass
    fresh = f"{path}.octo-{os.urandom(6).hex()}"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)


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
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "", *sys.argv[3:])
