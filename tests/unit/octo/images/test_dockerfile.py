"""What is taken from a Dockerfile: names of images written out, and no line that an engine might read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.errors import BuildFailed
from octo.images.dockerfile import Recipe, check_triggers, read, repository

OFFICIAL = "docker/dockerfile:1.7"


def recipe(text: str, **args: str) -> Recipe:
    return read(text.encode(), args)


def sent(text: str, **args: str) -> str:
    return recipe(text, **args).text({}).decode()


def test_a_name_without_a_tag_gets_one_so_that_no_engine_takes_it_for_an_id() -> None:
    assert (
        sent("FROM abc\nCOPY --from=cafe /x /y\nRUN ls\n") == "FROM abc:latest\nCOPY --from=cafe:latest /x /y\nRUN ls\n"
    )
    assert recipe("FROM abc\nCOPY --from=cafe /x /y").images == ("abc:latest", "cafe:latest")


@pytest.mark.parametrize("image", ["sha256:abc", "a" * 64, "sha256:" + "a" * 64, '"abc"', "a\\bc", "-x"])
def test_what_could_be_an_id_or_is_no_plain_name_is_refused(image: str) -> None:
    for text in (f"FROM {image}\n", f"FROM x\nCOPY --from={image} / /\n"):
        with pytest.raises(BuildFailed):
            recipe(text)


def test_stages_are_no_images() -> None:
    text = "FROM x:1 AS Abc\nFROM abc AS d\nCOPY --from=abc / /\nCOPY --from=0 / /\nCOPY --chown=1 --from=D / /\n"
    assert recipe(text).images == ("x:1",)
    assert sent(text) == text


def test_a_stage_of_later_on_is_an_image_now() -> None:
    assert recipe("FROM x:1\nCOPY --from=abc / /\nFROM x:1 AS abc\n").images == ("x:1", "abc:latest")


def test_variables_in_from_are_written_out() -> None:
    text = "ARG V=12\nARG I=debian:${V:-1}\nFROM ${I}-slim AS x\nFROM ${NONE:-node}\nFROM a${V:+b}c:$V\n"
    text += "ARG V\nRUN echo $V\n"
    assert sent(text).splitlines()[2:5] == ["FROM debian:12-slim AS x", "FROM node:latest", "FROM abc:12"]
    assert sent("ARG U=x\nFROM $U\n", U="ab") == "ARG U=x\nFROM ab:latest\n"
    assert sent(text).endswith("ARG V\nRUN echo $V\n")


@pytest.mark.parametrize("image", ["${U%x}", "$", "${U:0:1}", "$$U", "${}", "`id`"])
def test_variables_in_a_form_of_which_engines_may_differ_are_refused(image: str) -> None:
    with pytest.raises(BuildFailed):
        recipe(f"ARG U=ab\nFROM {image}\n")


@pytest.mark.parametrize(
    "text",
    [
        "FR\\\nOM a\n",  # the next line is part of the word
        "RUN x \\\\\nFROM a\n",  # older engines continue it, newer ones do not
        "\\\nFROM a\n",
        "FROM a\nCOPY --fr\\\nom=ab / /\n",
        "FROM a\nCOPY --from='ab' / /\n",
        "FROM a\nCOPY --fr''om=ab / /\n",
        "FROM a b\n",
        "FROM a AS\n",
        "FROM\n",
        "NONSENSE\n",
        "{\"syntax\": \"evil\"}\n",
        "// syntax=evil\nFROM a\n",
    ],
)  # fmt: skip
def test_what_engines_may_read_differently_is_refused(text: str) -> None:
    with pytest.raises(BuildFailed):
        recipe(text)


def test_onbuild_lines_are_read_like_any_other() -> None:
    text = "FROM a:1\nONBUILD COPY --from=ab / /\nONBUILD RUN ls\n"
    assert recipe(text).images == ("a:1", "ab:latest")
    assert "--from=ab:latest" in sent(text)


@pytest.mark.parametrize(
    "trigger",
    [
        "COPY --from=ab / /",
        "ADD --from=ab / /",
        "CO\\\nPY --from=ab / /",
        "copy --fr''om=ab / /",
        "\tCOPY\t--from=ab / /",
    ],
)
def test_a_base_whose_onbuild_lines_take_files_from_elsewhere_is_refused(trigger: str) -> None:
    with pytest.raises(BuildFailed, match="base image"):
        check_triggers([trigger], "x:1")


def test_a_base_with_ordinary_onbuild_lines_is_taken() -> None:
    check_triggers(["COPY . /app", "RUN make --from=x", "COPY --from=0 / /", "WORKDIR /x"], "x:1")


def test_the_escape_character_may_be_another_one() -> None:
    text = f"# syntax={OFFICIAL}\n# escape=`\nFROM a:1\nRUN dir c:\\\nRUN x `\n  FROM b\n"
    assert sent(text).splitlines()[:3] == ["# escape=`", "#", "FROM a:1"], "old engines see it in the first line only"
    assert recipe(text).images == ("a:1",)


@pytest.mark.parametrize(
    "line",
    [f"# syntax={OFFICIAL}", "#syntax = docker.io/docker/dockerfile", "# Syntax=docker/dockerfile-upstream:master"],
)
def test_the_official_syntax_is_the_engines_own_and_not_fetched(line: str) -> None:
    assert "syntax" not in sent(f"{line}\nFROM a:1\n").lower()


@pytest.mark.parametrize(
    "head", ["# syntax=evil", "#syntax=docker/dockerfile.evil", "# escape=\\\n# syntax=evil/x:1", "#!/x\n# syntax=evil"]
)
def test_any_other_syntax_is_refused(head: str) -> None:
    with pytest.raises(BuildFailed, match="foreign reader"):
        recipe(f"{head}\nFROM a:1\n")


def test_no_comment_at_the_top_can_be_taken_for_a_directive() -> None:
    assert sent("# hello\n# syntax=evil\n\n# escape=`\nFROM a:1\n") == "# hello\n#\n\n#\nFROM a:1\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("RUN --mount=type=cache,target=/x ls", "RUN --mount"),
        ("COPY --link a b", "COPY --link"),
        ("RUN --network=none ls", "RUN --network"),
        ("RUN <<EOF\nls\nEOF", "<<EOF"),
        ("COPY <<-'X' /y\nls\n\tX", "<<X"),
    ],
)
def test_what_needs_buildkit_is_named_with_its_line(line: str, what: str) -> None:
    assert recipe(f"FROM a:1\n{line}\nRUN ls\n").modern == f"line 2 ({what})"


def test_what_looks_like_a_heredoc_and_is_none_needs_nothing() -> None:
    assert recipe("FROM a:1\nRUN echo $((1 << 2)) '<' a<b\nENV X=<<EOF\n").modern == ""


def test_images_in_mounts_are_noted() -> None:
    text = "FROM a:1 AS s\nRUN --mount=type=bind,from=b,target=/b --mount=from=s,target=/s ls\n"
    assert recipe(text).images == ("a:1", "b:latest")


def test_lines_that_go_on_are_one_with_comments_and_blanks_left_out() -> None:
    text = "FROM \\\n # comment\n\n a:1 \\\n AS x\nCOPY --from=x \\\n a b\nRUN a && \\\n  # b \\\n  c\n"
    assert recipe(text).images == ("a:1",)
    assert sent(text).count("\n") == text.count("\n")


def test_bases_can_be_called_otherwise() -> None:
    found = recipe("FROM a AS x\nFROM scratch\nFROM x\nCOPY --from=a / /\n")
    assert found.bases == ("a:latest", "scratch")
    assert (
        found.text({"a:latest": "own", "scratch": "none"}).decode()
        == "FROM own AS x\nFROM none\nFROM x\nCOPY --from=a:latest / /\n"
    )


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("a", "a"),
        ("a:1", "a"),
        ("docker.io/library/a:1", "a"),
        ("h:5/x", "h:5/x"),
        ("h:5/x:1", "h:5/x"),
        ("a/b@sha256:0", "a/b"),
    ],
)
def test_repositories_are_named_as_people_write_them(image: str, name: str) -> None:
    assert repository(image) == name


@given(st.text(alphabet="FROM COPY--from=ab\\\n \t`#'\"$0:<", max_size=60))
def test_whatever_is_in_it_only_names_with_a_tag_are_sent(text: str) -> None:
    try:
        found = recipe(f"FROM x:1\n{text}\n")
    except BuildFailed:
        return
    for image in found.images:
        assert ":" in image or "@" in image


@pytest.mark.parametrize(
    ("top", "left"),
    [
        ("# escape=`\n", "# escape=`\n"),
        ("#escape=\\\n", "#escape=\\\n"),
        ("#  Escape = `\n", "# escape=`\n"),
        ("# escape=`\n# escape=\\\n", "#\n#\n"),
        ("# escape=\\\n# escape=`\n", "# escape=`\n#\n"),
        ("# syntax=docker/dockerfile:1\n# escape=`\n", "# escape=`\n#\n"),
        ("# check=skip=all\n# said\n# syntax=evil\n", "#\n# said\n#\n"),
        ("# said\nARG X=a\n", "# said\nARG X=a\n"),
    ],
)
def test_buildkit_gets_the_text_as_it_was_pushed_but_for_lines_that_mean_something_to_it(top: str, left: str) -> None:
    rest = "FROM ${X:-a}\nCOPY --from=b /x /y\n"
    assert recipe(top + rest).plain.decode() == left + rest
