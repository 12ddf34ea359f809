"""octohost's templates in octo's form."""

import pytest

from octo.ctmpl import translated
from octo.errors import Usage

NGINX = """upstream REPLACEME {
  ip_hash;
  {{range service "REPLACEME" "passing"}}server {{.Address}}:{{.Port}};
  {{else}}server 127.0.0.1:404;{{end}}
}

server {
  listen 80;
  listen 443 ssl spdy;
  include ssl.conf;
  server_name {{key "octohost/REPLACEME/DOMAINS"}};
  {{if key "octohost/REPLACEME/SECRET"}}set $secret "{{key "octohost/REPLACEME/SECRET"}}";{{end}}
  add_header X-App {{ key_or_default "octohost/REPLACEME/COLOUR" "blue" }};
  location /own { return 200 "REPLACEME"; }
  location / {
    include location.conf;
    proxy_pass http://REPLACEME;
  }
}
"""

OURS = """server {
  include listen.conf;

  server_name {{ domains }};
  {% if config.get("SECRET") %}set $secret "{{ config.SECRET }}";{% endif %}
  add_header X-App {{ config.get("COLOUR", "blue") }};
  location /own { return 200 "{{ name }}"; }
  location / {
    include proxy.conf;
  }
}
"""


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.row("J8")
def test_octohosts_template_keeps_what_was_its_owners() -> None:
    assert lines(translated(NGINX)) == lines(OURS)


def test_services_in_a_place_of_their_own_are_a_loop() -> None:
    found = translated('map $x $y {\n{{range service "REPLACEME"}} a {{.Address}};{{else}} a b;{{end}}\n}')
    assert "{% for instance in instances %} a {{ instance.address }};{% else %} a b;{% endfor %}" in found


def test_what_stands_on_one_line_is_translated_too() -> None:
    found = translated("location / { include location.conf; proxy_pass http://REPLACEME; }  # include ssl.conf;\nx;\n")
    assert (
        found.split() == ["location", "/", "{", "include", "proxy.conf;", "}", "#", "x;"]
        and "#" in found.splitlines()[0]
    )


@pytest.mark.parametrize("text", ["{{ $x := 1 }}", '{{range service "a"}}', "a\n{{ datacenters }}", "{{end}}"])
def test_what_octo_does_not_know_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(Usage, match="cannot translate the template"):
        translated(text)


def test_a_translated_template_is_not_changed_again() -> None:
    assert translated("server {\n    include listen.conf;\n}\n") == "server {\n    include listen.conf;\n}\n"
