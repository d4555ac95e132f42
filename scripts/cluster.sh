#!/bin/sh
# A private PostgreSQL cluster under tmp/cluster-NAME, with the extension
# preloaded, for the calling user (not root) alone: it listens on a Unix
# socket in a directory nobody else may enter.
#
#	scripts/cluster.sh start NAME [CONFIGURATION LINE]...	a new one, in place of an old one
#	scripts/cluster.sh stop NAME
#	scripts/cluster.sh options NAME		prints -h, -p and -U for psql
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
action=$1
name=$2
shift 2
cluster=$PWD/tmp/cluster-$name
root=$PWD/tmp/root
bindir=$root$("${PG_CONFIG:-pg_config}" --bindir)

stop()
{
	if [ -e "$cluster/data/postmaster.pid" ]; then
		"$bindir/pg_ctl" -D "$cluster/data" -m fast -s -w stop || "$bindir/pg_ctl" -D "$cluster/data" status >&2 || true
	fi
}

start()
{
	stop
	rm -rf "$cluster"
	(umask 077; mkdir -p "$cluster")
	free_port > "$cluster/port"
	"$bindir/initdb" -D "$cluster/data" -U postgres -A trust -E UTF8 --no-locale --no-sync \
		> "$cluster/initdb.log" 2>&1 || { cat "$cluster/initdb.log" >&2; exit 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$cluster'"
		echo "port = $(cat "$cluster/port")"
		echo "shared_preload_libraries = 'mktg'"
		for line; do
			echo "$line"
		done
	} >> "$cluster/data/postgresql.conf"
	"$bindir/pg_ctl" -D "$cluster/data" -l "$cluster/log" -s -w start ||
		{ tail -n 30 "$cluster/log" >&2; exit 1; }
}

case $action in
	start) start "$@" ;;
	stop) stop ;;
	options) echo "-h $cluster -p $(cat "$cluster/port") -U postgres" ;;
	*) fail "usage: scripts/cluster.sh start|stop|options NAME" ;;
esac
