#!/usr/bin/env bash
# Make or complete the virtual environment of this checkout: setup-venv.sh PYTHON VENV
# Nothing that is there already is removed; pip leaves satisfied requirements as they are, without the network.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-}
venv=${2:?"usage: setup-venv.sh PYTHON VENV"}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if [ -z "$python" ]; then
        echo "variegate needs Python 3.11 or newer and found none; install it or name it: make PYTHON=/path/to/python" >&2
        exit 1
    fi
    # Debian keeps the module ensurepip, which venv needs, in a package of its own.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
            echo "$python has no ensurepip: installing Debian's python3-venv" >&2
            apt-get update
            apt-get install --yes --no-install-recommends python3-venv
        else
            echo "$python has no ensurepip; on Debian: apt-get install python3-venv, then try again" >&2
            exit 1
        fi
    fi
    echo "making $venv with $python; the first time takes some minutes" >&2
    "$python" -m venv "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet --quiet install)
# torch comes first and alone, so that no other package decides which build of it is installed.
"${pip[@]}" "$(grep '^torch==' constraints.txt)"
"${pip[@]}" --constraint constraints.txt hatchling
"${pip[@]}" --constraint constraints.txt --no-build-isolation --editable '.[all,dev]'
