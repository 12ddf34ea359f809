"""logs."""

import sys
from typing import Annotated

import typer

from octo.cli import forwarding, text, words
from octo.cli.client import url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, command

GROUP = "Processes"


@command("logs", GROUP)
def logs(
    app_word: AppWord = None,
    app: App = "",
    tail: Annotated[bool, typer.Option("--tail", "-t", "--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[
        int,
        typer.Option(
            "--num", "-n", metavar="N", min=0, max=10000, help="How many lines back: 100.", show_default=False
        ),
    ] = 100,
    process: Annotated[
        str,
        typer.Option("--ps", "-p", metavar="TYPE[.N]", help="Of one process type or container.", show_default=False),
    ] = "",
) -> None:
    """Show what an app's containers print.

    octohost's words send logs to REMOTE_SYSLOG_DESTINATION and REMOTE_SYSLOG_PORT of /etc/default/octohost instead:
    octo logs octostart, octo logs octostop, octo logs start FILE NAME, octo logs stop FILE.
    """
    if app_word and not app and app_word[0] in forwarding.VERBS:
        forwarding.logs(app_word)
        return
    name = session().app(words.alone(app, app_word))
    body = {"lines": lines, "tail": tail, "dyno": process}
    opened = api().post(url("apps", name, "log-sessions"), body)
    seen = False
    for line in api().text(str(opened["logplex_url"])):
        text.raw(line, guarded=session().guarded)
        if tail:
            sys.stdout.flush()
        seen = True
    if not seen:
        text.note(f"{name} has printed nothing that is kept.")
