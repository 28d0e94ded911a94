#!/usr/bin/env bash
# Starts a throw-away PostgreSQL for the tests and prints its URL; called again, it prints the URL of the one that runs.
#
#   export VARIEGATE_TEST_POSTGRES_URL="$(tools/start-postgres.sh)"
#   tools/start-postgres.sh stop        # stops it and removes its data
#
# Needs the Debian package postgresql. It listens on 127.0.0.1 only, asks for no password, and does not flush to the disk:
# for tests, never for a registry. PGTMP names its folder, PGPORT its port. initdb refuses to run as root, so root hands
# it to the user postgres.
set -euo pipefail

folder="${PGTMP:-${TMPDIR:-/tmp}/variegate-postgres-$(id -u)}"
port="${PGPORT:-54329}"
url="postgresql+psycopg://vg@127.0.0.1:$port/postgres"
programs="$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)"
[ -n "$programs" ] || programs="$(dirname "$(command -v pg_ctl || true)")"
if [ ! -x "$programs/initdb" ]; then
    echo "there is no PostgreSQL server here; install it, on Debian with: apt-get install postgresql" >&2
    exit 1
fi

as_owner() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

if [ "${1:-start}" = stop ]; then
    if [ -d "$folder/data" ]; then
        as_owner "$programs/pg_ctl" -D "$folder/data" -m immediate -w stop >&2 || true
        rm -rf "$folder"
    fi
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -m 0700 "$folder"
else
    install -d -m 0700 "$folder"
fi
if [ ! -f "$folder/data/PG_VERSION" ]; then
    as_owner "$programs/initdb" -D "$folder/data" -A trust -U vg --encoding UTF8 --locale C >&2
fi
if ! as_owner "$programs/pg_ctl" -D "$folder/data" status >/dev/null 2>&1; then
    as_owner "$programs/pg_ctl" -D "$folder/data" -l "$folder/log" -w start \
        -o "-p $port -k $folder -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60" >&2 \
        || { tail -n 5 "$folder/log" >&2; exit 1; }
fi
echo "$url"
