"""octohost's magic comments of a Dockerfile, and the docker run options that they and the config amount to. Pure."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address

from octo.envfile import option
from octo.errors import Usage
from octo.model import CONTROL_KEYS

Reader = Callable[[Sequence[str]], list[str]]  # the words of a comment as options; none: they are off
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PATH = re.compile(r"/[^:,\0\s]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")


def comment_lines(dockerfile: str, name: str) -> Sequence[str]:
    """The lines `# NAME ...`, in upper or lower case, as they are."""
    begin = re.compile(rf"#[ \t]*{re.escape(name)}(?=\s|$)", re.IGNORECASE)
    return [line.rstrip() for line in dockerfile.splitlines() if begin.match(line)]


def run_options(app: str, config: Mapping[str, str], dockerfile: str) -> str:
    """One line for a shell. What steers octo is no variable of the app. Raises Usage for a comment that is off."""
    words = ["-d"]
    ports = _each(dockerfile, "PORTS_FROM_HOST", _port)
    words += ports or ["-P"]
    if comment_lines(dockerfile, "ADD_NAME"):
        words += ["--name", app]
    if comment_lines(dockerfile, "VOLUMES_FROM"):
        words += ["--volumes-from", f"{app}_data"]
    words += _each(dockerfile, "LINK_SERVICE", lambda given: _link(app, given))
    words += _each(dockerfile, "MOUNT_FROM_HOST", _mount)
    if config.get("MEMORY_LIMIT"):
        words.append(f"--memory={config['MEMORY_LIMIT']}")
    values = [option("CONTAINER_NAME", app)]
    values += [option(key, value) for key, value in sorted(config.items()) if key not in CONTROL_KEYS]
    return " ".join([*map(shlex.quote, words), *values])


def _each(dockerfile: str, name: str, read: Reader) -> list[str]:
    found: list[str] = []
    for line in comment_lines(dockerfile, name):
        given = line.lstrip("# \t").split()[1:]
        words = read(given)
        if not words:
            raise Usage(f"cannot read the comment # {name} of the Dockerfile", hint=f"Say: {_FORMS[name]}")
        found += words
    return found


def _link(app: str, given: Sequence[str]) -> list[str]:
    if len(given) not in (1, 2) or not all(map(_CONTAINER.fullmatch, given)):
        return []
    return ["--link", f"{given[1] if len(given) == 2 else f'{app}_{given[0]}'}:{given[0]}"]


def _mount(given: Sequence[str]) -> list[str]:
    if len(given) not in (1, 2) or not all(map(_PATH.fullmatch, given)):
        return []
    return ["-v", f"{given[0]}:{given[-1]}"]


def _port(given: Sequence[str]) -> list[str]:
    if len(given) not in (2, 3) or not all(_PORT.fullmatch(port) and int(port) < 65536 for port in given[:2]):
        return []
    try:
        address = ip_address(given[2]) if len(given) == 3 else "0.0.0.0"  # noqa: S104 - octohost's default
    except ValueError:
        return []
    return ["-p", f"{address}:{given[0]}:{given[1]}"]


_FORMS = {
    "LINK_SERVICE": "# LINK_SERVICE SERVICE [CONTAINER]",
    "MOUNT_FROM_HOST": "# MOUNT_FROM_HOST /HOST/PATH [/CONTAINER/PATH]",
    "PORTS_FROM_HOST": "# PORTS_FROM_HOST HOST_PORT CONTAINER_PORT [IP]",
}
