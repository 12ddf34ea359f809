# The Docker engine: use the one that runs, else start one. Sourced by setup.
# shellcheck shell=sh

engine=${OCTO_ENGINE:-/var/run/docker.sock}
engine_log=/var/log/octo-dockerd.log
engine_pid=/run/octo-dockerd.pid

# The engine's HTTP API and not the docker command: a client newer or older than the engine may refuse to talk to it.
ask_engine() { # PATH CURL-OPTION...
	path=$1
	shift
	curl -sS --noproxy '*' --unix-socket "$engine" "$@" "http://docker$path"
}

engine_answers() { [ "$(ask_engine /_ping -m 5 2>/dev/null)" = OK ]; }

engine_version() { ask_engine /version | sed -n 's/.*"Version":"\([^"]*\)","ApiVersion".*/\1/p'; }

start_engine() {
	step "Looking for a Docker engine"
	if engine_answers; then
		detail "Docker $(engine_version) answers at $engine"
		return 0
	fi
	if has_systemd && systemctl cat docker.service >/dev/null 2>&1; then
		detail "systemctl start docker"
		patiently systemctl start docker ||
			failed "cannot start the Docker engine: systemctl failed" "Run: journalctl -u docker"
		wait_for_engine ''
	else
		start_dockerd
	fi
	detail "Docker $(engine_version) answers at $engine"
	took
}

start_dockerd() { # without systemd
	has dockerd || die "cannot start a Docker engine: no dockerd is installed, and nothing answers at $engine" \
		"Start the engine, or set OCTO_ENGINE to its socket."
	detail "starting dockerd, log in $engine_log"
	mount_cgroups
	forget_dead_dockerd
	setsid dockerd --host "unix://$engine" >"$engine_log" 2>&1 </dev/null 9>&- &
	printf '%s %s\n' $! "$here" >"$engine_pid"
	wait_for_engine $!
}

mount_cgroups() { # systemd would have done it
	grep -q '^[^ ]* /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup ||
		warn "cannot mount /sys/fs/cgroup; dockerd will probably want it"
}

forget_dead_dockerd() { # after a crash dockerd takes any process that has its old number for itself
	forget_dead dockerd /var/run/docker.pid
	forget_dead containerd /var/run/docker/containerd/containerd.pid # or waits for one that is not there
}

forget_dead() { # PROGRAM FILE
	pid=$(cat "$2" 2>/dev/null || true)
	[ -z "$pid" ] || is_program "$1" "$pid" || rm -f "$2"
}

is_dockerd() { is_program dockerd "$1"; } # PID

is_program() { # NAME PID
	case $(readlink "/proc/$2/exe") in
	*/"$1" | */"$1"\ *) ;; # the latter after an upgrade: "(deleted)"
	*) return 1 ;;
	esac
}

wait_for_engine() { # PID of dockerd, or '' when systemd minds it
	tries=0
	until engine_answers; do
		tries=$((tries + 1))
		if [ $tries -gt 300 ] || { [ -n "$1" ] && ! runs "$1"; }; then
			[ -z "$1" ] || show_end "$engine_log"
			die "cannot start the Docker engine: it does not answer at $engine" "Look at its log: $([ -n "$1" ] && echo "$engine_log" || echo journalctl -u docker)"
		fi
		[ $((tries % 75)) -ne 0 ] || detail "waiting for $engine ($((tries / 5)) s)"
		sleep 0.2
	done
}

stop_engine() { # only the one that this checkout started, and when nobody else's containers run in it
	read -r pid starter 2>/dev/null <"$engine_pid" || return 0
	if is_dockerd "$pid"; then
		if [ "$starter" != "$here" ]; then
			detail "the Docker engine goes on: it was started from $starter"
			return 0
		fi
		if [ "$(ask_engine /containers/json 2>/dev/null)" != '[]' ]; then
			detail "the Docker engine goes on: other containers run in it"
			return 0
		fi
		step "Stopping the Docker engine that setup had started"
		kill "$pid"
		tries=0
		while is_dockerd "$pid" && [ $tries -lt 150 ]; do
			tries=$((tries + 1))
			sleep 0.2
		done
		! is_dockerd "$pid" || die "cannot stop dockerd: process $pid does not end" "Look at its log: $engine_log"
		took
	fi
	rm -f "$engine_pid"
}
