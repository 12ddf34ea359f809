"""What SSH_ORIGINAL_COMMAND may say. The numbers are those of the list of hostile inputs, section 3.1."""

import pytest

from gitreceive import wire
from gitreceive.command import (
    BAD_PATH,
    NO_SHELL,
    Command,
    Git,
    Refused,
    exit_code,
    git_protocol,
    parse,
    request,
)

RECEIVE = "git-receive-pack"

ACCEPTED = {
    "git-receive-pack 'web.git'": (RECEIVE, "web"),
    "git-receive-pack '/web.git'": (RECEIVE, "web"),
    "git receive-pack 'web.git'": (RECEIVE, "web"),
    "git-upload-pack 'web.git'": ("git-upload-pack", "web"),
    "git-receive-pack web.git": (RECEIVE, "web"),
    "git-receive-pack 'web'": (RECEIVE, "web"),
    "git-receive-pack 'web.git/'": (RECEIVE, "web"),
    "git-upload-archive 'web.git'": ("git-upload-archive", "web"),  # 21
    "git upload-archive '/web/'": ("git-upload-archive", "web"),
    "git-receive-pack 'web-.git'": (RECEIVE, "web-"),  # 38: octod says why it takes no such name
    "git-receive-pack 'testing_redis_data.git'": (RECEIVE, "testing_redis_data"),
    "git-receive-pack 'a'": (RECEIVE, "a"),
    f"git-receive-pack '{'a' * 63}.git'": (RECEIVE, "a" * 63),
}

NO_PATHS = {
    "2": "git-receive-pack",
    "3": "git-receive-pack ",
    "4": "git-receive-pack ''",
    "5": "git-receive-pack '.git'",
    "6": "git-receive-pack '../web.git'",
    "7": "git-receive-pack '..'",
    "8": "git-receive-pack '/etc/passwd'",
    "9": "git-receive-pack '~root/x.git'",
    "10": "git-receive-pack 'web.git';id",
    "11": "git-receive-pack 'web.git' && id",
    "12": "git-receive-pack 'web.git'\nid",
    "13": 'git-receive-pack "web.git"',
    "14": "git-receive-pack '$(id).git'",
    "15": "git-receive-pack '`id`.git'",
    "16": "git-receive-pack 'web.git' --exec=id",
    "17": "git-receive-pack --help",
    "18": "git-receive-pack -h",
    "19": "git-receive-pack '-h'",
    "20": "git-upload-pack --upload-pack=id 'web.git'",
    "22": "git-shell",
    "23": "git-shell -c id",
    "27": "git-receive-pack 'web.git",
    "28": "git-receive-pack 'w\u00e9b.git'",
    "29": "git-receive-pack 'we\u200bb.git'",
    "30": "git-receive-pack 'we\0b.git'",
    "31": "git-receive-pack 'web.git'\r",
    "32": "git-receive-pack  'web.git'",
    "33": " git-receive-pack 'web.git'",
    "34": "git-receive-pack 'web.git' ",
    "35": "git-receive-pack\t'web.git'",
    "36": f"git-receive-pack '{'a' * 64}.git'",
    "37": f"git-receive-pack '{'a' * 120_000}.git'",
    "39": "git-receive-pack 'Web.git'",
    "40": "git-receive-pack 'a'\\''b.git'",
    "41": "git-receive-pack 'web.git'#",
    "42": "git-receive-pack 'con:web'",
    "43": "git-receive-pack '1web.git'",
    "44": "GIT-RECEIVE-PACK 'web.git'",
    "45": "git-receive-pack 'we\udcffb.git'",
    "46": "git-receive-pack 'web/branch'",
    "47": "git-receive-pack '//web.git'",
    "git alone": "git",
    "another git": "git status",
    "a git with options": "git -c x=y receive-pack 'web.git'",
    "a spaced verb": "git  receive-pack 'web.git'",
    "two suffixes": "git-receive-pack 'web.git.git'",
    "a program by path": "/bin/sh",
    "25": "/usr/lib/openssh/sftp-server",
    "a home": "~/bin/run",
    "a program here": "./run",
}

COMMANDS = {
    "24": ("scp -t /tmp", ["scp", "-t", "/tmp"]),  # octod knows no such command, and says so
    "26": ("bash", ["bash"]),
    "25, the other spelling": ("internal-sftp", ["internal-sftp"]),
    "plain": ("apps", ["apps"]),
    "octo in front": ("octo apps:info shop", ["apps:info", "shop"]),
    "octo alone": ("octo", []),
    "spaces": ("  ps:scale \t web=2  ", ["ps:scale", "web=2"]),
    "single quotes": ("config:set A='x; y | z & $(id) `id` \\ \"'", ["config:set", 'A=x; y | z & $(id) `id` \\ "']),
    "double quotes": ('config:set "A=\\"q\\" \\$HOME \\n; $(id)"', ["config:set", 'A="q" $HOME \\n; $(id)']),
    "backslash": ("config:set A=a\\ b\\;c\\'", ["config:set", "A=a b;c'"]),
    "a line break in quotes": ("config:set 'A=1\n2' \"B=3\n4\"", ["config:set", "A=1\n2", "B=3\n4"]),
    "a line break escaped in quotes": ('config:set "A=1\\\n2"', ["config:set", "A=12"]),
    "empty words": ("config:set A= '' \"\"", ["config:set", "A=", "", ""]),
    "pieces": ("config:set shop/A='b'\"c\"d", ["config:set", "shop/A=bcd"]),
    "nothing expands": ("run ls * ~ $HOME {a,b} #x !!", ["run", "ls", "*", "~", "$HOME", "{a,b}", "#x", "!!"]),
    "other scripts": ("config:set A=\u65e5\u672c", ["config:set", "A=\u65e5\u672c"]),
    "bytes": ("config:set A=\udcff", ["config:set", "A=\udcff"]),
    "quoted name": ("'apps'", ["apps"]),
}

UNREADABLE = {
    "apps;id": "an unquoted ;",
    "apps | cat": "an unquoted |",
    "apps & id": "an unquoted &",
    "apps < /etc/passwd": "an unquoted <",
    "apps > /x": "an unquoted >",
    "apps `id`": "an unquoted `",
    "apps $(id)": "an unquoted $",
    "apps\nid": "a line break",
    "apps\n": "a line break",
    "apps 'x": "a quote is not closed",
    'apps "x': "a quote is not closed",
    'apps "x\\"': "a quote is not closed",
    "apps \\": "a backslash",
    "apps \\\nid": "a backslash",
    "apps \0": "a NUL byte",
    "Apps": "no octo command",
    "''": "no octo command",
    "--help": "no octo command",
    "a:": "no octo command",
    "con:web:": "no octo command",
    "x=1 apps": "no octo command",
    "config:set A=" + "x" * 131_072: "longer than 128 KB",
}


@pytest.mark.row("A4")
@pytest.mark.parametrize("text", ACCEPTED)
def test_every_way_git_names_a_repository_is_read(text: str) -> None:
    asked = parse(text)
    assert isinstance(asked, Git)
    assert (asked.verb, asked.app) == ACCEPTED[text]


@pytest.mark.row("A4")
@pytest.mark.row("A5")
@pytest.mark.parametrize("number", NO_PATHS)
def test_what_is_no_plain_path_is_refused(number: str) -> None:
    asked = parse(NO_PATHS[number])
    assert isinstance(asked, Refused)
    assert asked.text == BAD_PATH


@pytest.mark.row("A5")
@pytest.mark.parametrize("text", ["", " ", "\n", "\t\r\n", "\u00a0"])
def test_no_command_is_no_shell(text: str) -> None:
    asked = parse(text)
    assert isinstance(asked, Refused)
    assert asked.text == NO_SHELL


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_line_is_split_and_nothing_in_it_expands(name: str) -> None:
    text, words = COMMANDS[name]
    asked = parse(text)
    assert isinstance(asked, Command)
    assert asked.words == words


@pytest.mark.row("A4")
@pytest.mark.parametrize("text", UNREADABLE)
def test_what_only_a_shell_could_carry_out_is_refused_with_the_reason(text: str) -> None:
    asked = parse(text)
    assert isinstance(asked, Refused)
    assert UNREADABLE[text] in asked.text
    assert asked.text.startswith(" ! octo: cannot run this: ")


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("version=2", "version=2"),
        ("version=1:key=value.x-y", "version=1:key=value.x-y"),
        ("version=0:", "version=0:"),
        ("version=3", ""),
        ("version=2\nX", ""),
        ("version=2:X", ""),
        ("version=22", ""),
        ("version=2:" + "a" * 300, ""),
        ("", ""),
        ("\u0662version", ""),
    ],
)
def test_git_protocol_is_what_git_sends_or_nothing(value: str, taken: str) -> None:
    assert git_protocol(value) == taken


def test_the_message_carries_who_asks_and_what() -> None:
    who = {"user": "ann", "fingerprint": "SHA256:x", "address": "192.0.2.1", "protocol": "version=2"}
    kind, fields, arguments = wire.unpack(request(Git(RECEIVE, "web"), **who)[4:])
    assert (kind, arguments) == ("git", [])
    assert fields == {
        "user": "ann",
        "fingerprint": "SHA256:x",
        "from": "192.0.2.1",
        "verb": RECEIVE,
        "app": "web",
        "protocol": "version=2",
    }
    kind, fields, arguments = wire.unpack(request(Command(["apps", ""]), **who)[4:])
    assert (kind, arguments, fields["tty"], fields["user"]) == ("octo", ["apps", ""], "0", "ann")


@pytest.mark.parametrize(("answer", "code"), [("exit 0", 0), ("exit 20", 20), ("exit 999", 255)])
def test_octods_exit_code_is_taken(answer: str, code: int) -> None:
    assert exit_code(answer) == code


@pytest.mark.parametrize("answer", ["", "exit", "exit ", "exit -1", "exit x", "yes 1", "exit 1 2"])
def test_anything_else_is_no_exit_code(answer: str) -> None:
    assert exit_code(answer) is None
