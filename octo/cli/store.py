"""store:migrate."""

import os
import sys
from typing import Annotated

from octo.cli.session import session
from octo.cli.tree import command, word
from octo.errors import Conflict, Usage
from octo.settings import STORES

GROUP = "Server"


@command("store:migrate", GROUP)
def migrate(to: Annotated[str, word("consul|sqlite")] = "") -> None:
    """Move all that octo knows to Consul, or back to SQLite, while octod is stopped.

    Apps serve meanwhile. It may be cut off and run again; until it has ended, the old store is the one that counts.
    """
    if to not in STORES:
        raise Usage(f'cannot move to "{to}"', hint="Say where to: octo store:migrate consul")
    if session().settings is None:
        raise Conflict(
            "cannot move the store while octod runs", hint="Stop octod, and run it again on the server, as root."
        )
    os.execv(sys.executable, [sys.executable, "-P", "-m", "octo.daemon", "migrate", to])  # noqa: S606 - as octod itself
