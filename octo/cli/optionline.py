"""octohost's magic comments of a Dockerfile, and the docker run options that they and the config amount to. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence

from octo.envfile import option
from octo.errors import BuildFailed, Usage
from octo.model import CONTROL_KEYS
from octo.options import effective, from_dockerfile


def comment_lines(dockerfile: str, name: str) -> Sequence[str]:
    """The lines `# NAME ...`, in upper or lower case, as they are."""
    begin = re.compile(rf"#[ \t]*{re.escape(name)}(?=\s|$)", re.IGNORECASE)
    return [line.rstrip() for line in dockerfile.splitlines() if begin.match(line)]


def run_options(app: str, config: Mapping[str, str], dockerfile: str) -> str:
    """One line for a shell. What steers octo is no variable of the app. Raises Usage for a comment that is off."""
    try:
        asked = effective(from_dockerfile(dockerfile), config)
    except BuildFailed as error:  # here the Dockerfile is what was typed
        raise Usage(error.message, hint=error.hint) from None
    words = ["-d"]
    words += [w for p in asked.ports for w in ("-p", f"{p.ip}:{p.host}:{p.container}")] or ["-P"]
    words += ["--name", app] if asked.add_name else []
    words += ["--volumes-from", f"{app}_data"] if asked.volumes_from else []
    words += [w for k in asked.links for w in ("--link", f"{k.to or f'{app}_{k.alias}'}:{k.alias}")]
    words += [w for m in asked.mounts for w in ("-v", f"{m.host}:{m.container}")]
    if config.get("MEMORY_LIMIT"):
        words.append(f"--memory={config['MEMORY_LIMIT']}")
    values = [option("CONTAINER_NAME", app)]
    values += [option(key, value) for key, value in sorted(config.items()) if key not in CONTROL_KEYS]
    return " ".join([*map(shlex.quote, words), *values])
