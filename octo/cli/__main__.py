"""`python -m octo.cli`: the commands in place, for when octod is not there: help, version, doctor, store:migrate."""

import os
import sys

from octo.cli import main
from octo.cli.client import Api
from octo.cli.session import Session
from octo.errors import Usage
from octo.settings import Settings, load

if __name__ == "__main__":
    problem: Usage | None = None
    settings = Settings()
    try:
        settings = load(os.environ)
    except Usage as error:
        problem = error
    session = Session(Api(settings.api_socket, ""), settings=settings, problem=problem)
    sys.exit(main(sys.argv[1:], session))
