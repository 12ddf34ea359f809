"""/plugins: the operator's unknown commands. A promise, kept for who comes with the secret and its streams."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Usage


def run(ask: Ask) -> Json:
    """null when there are no plugins at all."""
    words = ask.given("words", [])
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise Usage('cannot read the request: "words" must be a list of strings')
    plugins = ask.extra["plugins"]
    if not plugins.found():
        return None
    secret = plugins.expect(words, help=ask.given("help", False))
    return {"attach_url": str(ask.octo.settings.run / "attach.sock"), "attach_secret": secret}


RESOURCES = (Resource("POST", "/plugins", Verb.MANAGE, run),)
