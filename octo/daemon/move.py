"""What another host has: its config by ssh, as root of this machine, whose keys and known hosts decide."""

import re
from collections.abc import Mapping

from octo import process
from octo.envfile import octohost_export
from octo.errors import OctoError, Unavailable, Usage
from octo.model import AppName, ConfigKey, port_number, shown

EXPORT = "octo config:export"
PATIENCE = 120.0  # seconds
LONGEST = 8 * 1024 * 1024  # bytes of an export
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:-]{0,252})")  # a name or an address; never an option
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


def config(host: str, user: str, port: str) -> tuple[str, Mapping[AppName, Mapping[ConfigKey, str]]]:
    """The other host's export, as it came and as it was read. It is parsed, and no shell ever sees it (hole 13)."""
    done = process.run(argv(host, user, port, EXPORT), timeout=PATIENCE)
    if done.code != 0:
        why = done.err.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"ssh ended with {done.code}"]
        raise Unavailable(
            f"cannot fetch the config of {host}: {why[0][:300]}",
            hint=f"See that root here can: ssh {user}@{host} {EXPORT}",
        )
    if len(done.out) > LONGEST:
        raise OctoError(f"cannot fetch the config of {host}: its export is longer than 8 MB")
    text = done.out.decode("utf-8", "replace")
    try:
        return text, octohost_export(text)
    except Usage as error:
        raise OctoError(f"cannot use the export of {host}: {error.message}", hint="Nothing was changed.") from None


def argv(host: str, user: str, port: str, command: str) -> list[str]:
    """The ssh command line: asks nobody anything, and trusts no host that root does not know."""
    if not _HOST.fullmatch(host):
        raise Usage(f"cannot reach {shown(host)}: it is no name or address of a host")
    if not _USER.fullmatch(user):
        raise Usage(f"cannot log in as {shown(user)}: it is no user's name")
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-p", str(port_number(port))]
    return ["ssh", *options, "-l", user, "--", host, command]
