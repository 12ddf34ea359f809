"""The settings of Consul: which prefixes go together, and what is a secret."""

from pathlib import Path

import pytest

from octo.errors import Usage
from octo.settings import Settings, load
from octo.wiring import knowledge


def settings(tmp_path: Path, **given: str) -> Settings:
    return load({"OCTO_HOME": str(tmp_path), **{f"OCTO_CONSUL_{name.upper()}": value for name, value in given.items()}})


@pytest.mark.row("H2")
@pytest.mark.parametrize(
    ("prefix", "documents"), [("octohost", "octo"), ("", ".octo"), ("a/b", "a/c"), ("octohost", "octohost/.octo")]
)
def test_prefixes_that_are_apart_are_taken(tmp_path: Path, prefix: str, documents: str) -> None:
    made = settings(tmp_path, prefix=prefix, documents=documents)
    assert (made.consul_prefix, made.consul_documents) == (prefix, documents)


@pytest.mark.parametrize(
    ("prefix", "documents"),
    [
        ("", "octo"),
        ("octo", "octo"),
        ("octo/config", "octo"),
        ("octohost", "octohost/octo"),
        ("octohost", ""),
        ("/octohost", "octo"),
        ("octohost/", "octo"),
        ("a//b", "octo"),
        ("..", "octo"),
        ("octohost", "../octo"),
        ("a b", "octo"),
    ],
)
def test_an_app_can_never_have_octos_documents_for_its_config(tmp_path: Path, prefix: str, documents: str) -> None:
    with pytest.raises(Usage, match="consul_"):
        settings(tmp_path, prefix=prefix, documents=documents)


def test_a_token_comes_from_a_file_and_is_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    made = settings(tmp_path, token="0ther", token_file=str(tmp_path / "token"))
    assert knowledge.consul_token(made) == "s3cret" and "0ther" not in repr(made)
    with pytest.raises(Usage, match="consul_token_file"):
        knowledge.consul_token(settings(tmp_path, token_file=str(tmp_path / "none")))


def test_a_store_or_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match='"etcd" is not sqlite or consul'):
        load({"OCTO_HOME": str(tmp_path), "OCTO_STORE": "etcd"})
    with pytest.raises(Usage, match="it is no URL"):
        knowledge.memory(load({"OCTO_HOME": str(tmp_path), "OCTO_STORE": "consul", "OCTO_CONSUL": "localhost:8500"}))
