#!/usr/bin/env bash
# Installs what the tests of the registry and of key providers use beside Python, on Debian: PostgreSQL and SoftHSM.
# Does nothing where both are there; without the right to install, says what is missing and goes on.
set -euo pipefail

missing=()
[ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || command -v initdb >/dev/null || missing+=(postgresql)
command -v softhsm2-util >/dev/null || missing+=(softhsm2)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}" >&2
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } >&2
    then
        echo "could not install ${missing[*]}; what needs them will say so" >&2
    fi
else
    echo "tests of the registry and of key providers need: apt-get install ${missing[*]}" >&2
fi
