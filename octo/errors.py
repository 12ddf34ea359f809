"""Every error a person can meet: its words, its hint, its exit code and its HTTP status.

Anything that is not an OctoError is a bug; only the doors catch those.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 20 no such app.
"""


class OctoError(Exception):
    """Something a person can act on: "cannot ...: why" and one imperative hint."""

    exit_code = 1
    status = 422  # HTTP
    id = "invalid_params"  # the error ids of Heroku's Platform API

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Usage(OctoError):
    """The words of the request are off; nothing was looked at."""

    exit_code = 2
    status = 400
    id = "bad_request"


class NotFound(OctoError):
    status = 404
    id = "not_found"


class NoSuchApp(NotFound):
    exit_code = 20


class Forbidden(OctoError):
    status = 403
    id = "forbidden"


class Taken(OctoError):
    """Somebody else has that name, domain or key."""


class Conflict(OctoError):
    """The value changed under the writer: its `expect` did not hold."""

    status = 409
    id = "conflict"


class Locked(OctoError):
    """The lock is held; `holder` says by whom, in words for people."""

    status = 409
    id = "conflict"

    def __init__(self, message: str, *, holder: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder


class BuildFailed(OctoError):
    pass


class DeployFailed(OctoError):
    pass


class RouterFailed(OctoError):
    """nginx would not take, or did not take up, the new configuration."""


class Cancelled(OctoError):
    """The person who asked has gone."""


class Full(OctoError):
    """Too little is free on a disk to begin."""

    status = 507
    id = "insufficient_storage"


class Unavailable(OctoError):
    """A part that octo leans on does not answer: the engine, nginx, the store."""

    status = 503
    id = "unavailable"
