"""Who is to hear of a deploy that failed hears of it."""

from pathlib import Path

import pytest

from tests import apps
from tests.stories.conftest import serving
from tests.stories.host import Repository


@pytest.mark.row("I5")
def test_a_deploy_that_fails_is_told_to_the_operator_by_mail(tmp_path: Path) -> None:
    told, program = tmp_path / "told", tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '-t -oi' ] && cat >>{told}\n")
    program.chmod(0o755)
    with serving(OCTO_EMAIL_NOTIFICATION="ops@example.com", OCTO_SENDMAIL=str(program)) as host:
        clone = Repository(host, "shop", apps.web("hello"))
        clone.push()
        host.idle()
        assert not told.exists()
        clone.commit({"Dockerfile": "FROM octo/stack\nEXPOSE 5000\nCMD exit 3\n"})
        clone.push(code=1)
        host.idle()
        message = told.read_text()
        assert message.count("Subject: ") == 1 and "Subject: shop failed to launch on " in message
        assert "To: ops@example.com" in message and "it ended with exit code 3" in message
        assert host.get("shop") == (200, "hello v1 ")
