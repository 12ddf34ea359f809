"""logspout, and octohost's `logs octostart`: logs to a syslog on another machine."""

from collections.abc import Sequence
from typing import Annotated

from octo.cli import text
from octo.cli.session import api
from octo.cli.tree import command, word
from octo.errors import Usage

GROUP = "Server"
VERBS = ("octostart", "octostop", "start", "stop")  # of `logs`; an app of such a name needs -a
USAGE = "Usage: octo logs octostart | octostop | start FILE NAME | stop FILE"


def logs(words: Sequence[str]) -> None:
    """What `octo logs` does with one of VERBS."""
    body: dict[str, object] = {"what": "octologs", "on": words[0] in ("octostart", "start")}
    if words[0] in ("start", "stop"):
        if len(words) != (3 if words[0] == "start" else 2):
            raise Usage("cannot ship a file: a word is missing or one too many", hint=USAGE)
        body |= {"what": "file", "file": words[1], "name": words[-1]}
    elif len(words) > 1:
        raise Usage(f'cannot use the word "{words[1]}": it is one too many', hint=USAGE)
    api().post("/octo/forwarding", body)
    what = "the logs of apps and nginx" if body["what"] == "octologs" else str(words[1])
    text.note(f"{'Sending' if body['on'] else 'No longer sending'} {text.cell(what)} to the remote syslog.")


@command("logspout", GROUP)
def logspout(verb: Annotated[str, word("start|stop|pull")]) -> None:
    """Send the apps' logs to LOGSPOUT_TARGET, a syslog elsewhere, or stop that.

    octod does it itself, without an image: there is nothing to pull.
    """
    if verb == "pull":
        text.note("There is nothing to pull: octod itself sends the logs.")
    elif verb in ("start", "stop"):
        api().post("/octo/forwarding", {"what": "logspout", "on": verb == "start"})
        text.note("Sending the apps' logs to LOGSPOUT_TARGET." if verb == "start" else "No longer sending them.")
    else:
        raise Usage("cannot tell what to do with the logs", hint="Usage: octo logspout start | stop | pull")
