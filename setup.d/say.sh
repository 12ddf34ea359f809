# What setup shows, and what it does when a step fails. Sourced by setup.
# shellcheck shell=sh

log=''   # the output of the step under way, shown when it fails
beat=''  # the process that says every 15 s that a silent step goes on
began=0

now() { date +%s%3N; } # milliseconds

step() {
	printf -- '-----> %s\n' "$*"
	began=$(now)
}

detail() { printf '       %s\n' "$*"; }

took() {
	ms=$(($(now) - began))
	detail "done in $((ms / 1000)).$((ms % 1000 / 100)) s"
}

result() { printf '=====> %s\n' "$*"; }

warn() { printf ' !     %s\n' "$*" >&2; }

die() { # MESSAGE [HINT]
	warn "$1"
	[ -z "${2-}" ] || warn "$2"
	exit 1
}

die_usage() { # MESSAGE HINT
	warn "$1"
	warn "$2"
	exit 2
}

runs() { readlink "/proc/$1/exe" >/dev/null; } # PID: and is no zombie

quoted() { # TEXT: as a shell reads it
	case $1 in
	*[!A-Za-z0-9_./-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
	*) printf '%s' "$1" ;;
	esac
}

show_end() { # FILE: its last lines, for a failure
	[ ! -s "$1" ] || tail -n 25 -- "$1" | sed 's/^/       /' >&2
}

patiently() { # COMMAND...: run it, its output into the log; say every 15 s that it goes on
	[ -n "$log" ] || log=$(mktemp /tmp/octo-setup.XXXXXX)
	start_beat
	code=0
	"$@" >"$log" 2>&1 9>&- || code=$? # a daemon that is started on the way must not keep the lock
	end_beat
	return "$code"
}

failed() { # MESSAGE [HINT]: die with what the last `patiently` printed
	[ -z "$log" ] || show_end "$log"
	die "$@"
}

start_beat() {
	(
		exec 9>&-
		nap=''
		before=0
		trap 'kill "$nap" 2>/dev/null; exit 0' TERM
		for waited in 15 30 45 60 75 90 105 120 150 180 210 240 300 360 420 480 540 600 900 1200 1800; do
			sleep $((waited - before)) >/dev/null 2>&1 &
			nap=$!
			wait "$nap"
			before=$waited
			detail "still at it ($waited s)"
		done
	) &
	beat=$!
}

end_beat() {
	[ -n "$beat" ] || return 0
	kill "$beat" 2>/dev/null || true
	wait "$beat" 2>/dev/null || true
	beat=''
}

clean_up() { # on every exit, whatever the reason
	code=$?
	trap - EXIT
	set +e
	end_beat
	[ -z "$held_policy" ] || restore_policy
	[ -z "$log" ] || rm -f -- "$log"
	forget_consul_folder
	exit "$code"
}
