"""restart: octohost's, which builds anew. New containers of the same release are ps:restart's."""

from octo.cli import text, words
from octo.cli.client import ApiError, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, change, command
from octo.errors import NoSuchApp

GROUP = "Processes"


@command("restart", GROUP)
def restart(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Build and deploy the revision that serves once more, from the app's repository.

    Where nothing serves yet, it is what lies on the branch that deploys. See ps:restart for new containers alone.
    """
    name = session().app(words.alone(app, app_word))
    try:
        api().get(url("apps", name))
    except ApiError as error:
        if error.exit_code == NoSuchApp.exit_code:
            raise NoSuchApp("There is no source with that name.") from None
        raise
    if as_ is Format.TEXT:
        text.line(f"Restarting {name}.")
    change("POST", url("apps", name, "actions", "rebuild"), None, as_, done=f"Restarted {name}.")
