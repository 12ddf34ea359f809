"""config:proxy, config:consul_template, as octohost called them: nginx's files made anew."""

from octo.cli import text, words
from octo.cli.client import url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command

GROUP = "Server"


@command("config:proxy", GROUP)
def every(as_: As = Format.TEXT) -> int:
    """Render nginx's files of all apps again, test them, and reload."""
    done = api().post("/octo/router")
    if as_ is Format.JSON:
        text.show_json(done)
        return 1 if done["faults"] else 0
    text.line(f"Rendered {done['apps']} app{'' if done['apps'] == 1 else 's'}; nginx reloaded and proved.")
    for fault in done["faults"]:
        text.note(f" !     {text.cell(fault['message'])}; it is served as before")
    return 1 if done["faults"] else 0


@command("config:consul_template", GROUP)
def one(app_word: AppWord = None, app: App = "") -> None:
    """Render nginx's file of an app again, by its template as it is now, and reload."""
    done = api().post(url("apps", session().app(words.alone(app, app_word)), "router"))
    text.line(f"Rendered {done['app']}; nginx reloaded and proved.")
