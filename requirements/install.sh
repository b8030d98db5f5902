#!/usr/bin/env bash
# Makes or mends a virtual environment with locked versions; does nothing where it is up to date.
#
#   requirements/install.sh VENV "PYTHON_VERSION ..." LOCK_FILE TARGET
#
# The first fitting interpreter of $PYTHON and pythonX.Y is taken, in the order of the versions.
# {version} in the name of the lock file stands for the version of that interpreter; TARGET is the
# make target that is named in messages.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 versions=$2 lock=$3 target=$4
bin=$venv/bin
uv_version=0.13.9

exec 9<setup.cfg
if command -v flock >/dev/null; then flock 9; fi
# Written last, named by what was installed and where: a half-made, moved or outdated environment
# has no stamp of this name.
stamp=$venv/.installed-$({ cat ${lock/\{version\}/*} requirements/encoder.lock setup.cfg pyproject.toml; pwd; } | sha256sum | cut -c1-16)
fits() { "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])' $versions >/dev/null 2>&1; }
has_pip() { "$bin/python" -m pip --version >/dev/null 2>&1; }
if [ -e "$stamp" ] && fits "$bin/python"; then exit 0; fi
if ! fits "$bin/python" || ! { has_pip || command -v uv >/dev/null; }; then
	candidates=${PYTHON:-}
	for version in $versions; do
		candidates+=" python$version $(ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/"$version".*/bin/python"$version" 2>/dev/null || true)"
	done
	python=
	for candidate in $candidates python3; do
		if fits "$candidate"; then python=$candidate; break; fi
	done
	# Last, uv fetches one where it may.
	for uv in uv .venv/bin/uv; do
		if [ -z "$python" ] && command -v "$uv" >/dev/null && "$uv" python install -q "${versions%% *}" 2>/dev/null; then
			python=$("$uv" python find "${versions%% *}" 2>/dev/null || true)
		fi
	done
	if [ -z "$python" ]; then
		echo "Python ${versions// / or } is needed and was not found. Install one, for example with" >&2
		echo "apt-get install python${versions%% *} python${versions%% *}-venv, or uv python install ${versions%% *}, and name it:" >&2
		echo "make PYTHON=/path/to/python${versions%% *} $target" >&2
		exit 1
	fi
	echo "Making $venv with $("$python" -c 'import sys; print(sys.executable)')"
	rm -rf "$venv"
	if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
		rm -rf "$venv"
		"$python" -m virtualenv "$venv" >/dev/null 2>&1 ||
		virtualenv -p "$python" "$venv" >/dev/null 2>&1 ||
		uv venv -q --python "$python" "$venv" 2>/dev/null ||
		.venv/bin/uv venv -q --python "$python" "$venv" 2>/dev/null || {
			version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
			echo "$python cannot make a virtual environment: its module ensurepip is missing." >&2
			echo "Install it, on Debian and Ubuntu with: apt-get install python$version-venv" >&2
			exit 1
		}
	fi
fi
if ! "$bin/uv" --version 2>/dev/null | grep -qF "$uv_version" && has_pip; then
	"$bin/python" -m pip install -q --disable-pip-version-check "uv==$uv_version" ||
	echo "uv $uv_version cannot be had here." >&2
fi
uv=$(command -v "$bin/uv" || command -v uv || command -v .venv/bin/uv || true)
# uv does not read pip's settings: take over the index, and a cache folder that can be written.
index=${PIP_INDEX_URL:-$("$bin/python" -m pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=$index; fi
cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/dev/null}/.cache}/uv}
if ! mkdir -p "$cache" 2>/dev/null || ! [ -w "$cache" ]; then export UV_CACHE_DIR=$PWD/$venv/.uv-cache; fi
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
install_packages() {
	if [ -n "$uv" ] && "$uv" pip install -q --python "$bin/python" "$@"; then return 0; fi
	echo "uv cannot install them here; pip does it, slowly." >&2
	"$bin/python" -m pip install -q --disable-pip-version-check "$@"
}
version=$("$bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
lock=${lock/\{version\}/$version}
echo "Installing the packages of $lock into $venv"
install_packages --require-hashes -r "$lock"
install_packages --require-hashes --no-deps -r requirements/encoder.lock
install_packages --no-deps --no-build-isolation -e .
rm -f "$venv"/.installed-*
touch "$stamp"
