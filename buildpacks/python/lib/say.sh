# Words for the pusher, and the app's config vars. Sourced by compile.
# shellcheck shell=sh

step() { echo "-----> $*"; }
detail() { echo "       $*"; }

die() { # MESSAGE HINT...
	for line in "$@"; do
		echo " !     $line"
	done
	exit 1
}

export_config() { # ENV_DIR: tools see the app's config, as private indexes need it; but what would break them
	for file in "$1"/*; do
		case ${file##*/} in
		'*' | PATH | HOME | TMPDIR | STACK | IFS | OPTIND | ENV | BASH_ENV | LD_* | GIT_* | PYTHON* | NODE_* | VIRTUAL_ENV) ;;
		PIP_TARGET | PIP_PREFIX | PIP_USER | PIP_CACHE_DIR | npm_config_prefix | npm_config_cache) ;;
		*)
			value=$(cat -- "$file" && echo .)
			export "${file##*/}=${value%.}"
			;;
		esac
	done
}
