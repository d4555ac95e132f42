# lib.sh: what the other scripts share; sourced with the checkout as directory.
# shellcheck shell=sh

SUPPORTED="17 16 15"

fail()
{
	echo "mktg: $*" >&2
	exit 1
}

# Prints the major version of a pg_config.
pg_major()
{
	"$1" --version 2>/dev/null | sed 's/^PostgreSQL \([0-9]*\).*/\1/'
}

# Is this the pg_config of a server we support, with what extensions are built with?
usable()
{
	major=$(pg_major "$1") && [ -n "$major" ] || return 1
	case " $SUPPORTED " in
		*" $major "*) ;;
		*) return 1 ;;
	esac
	[ -e "$("$1" --pgxs)" ] && [ -x "$("$1" --bindir)/initdb" ] &&
		[ -e "$("$1" --includedir-server)/postgres.h" ]
}

# Prints the pg_config to work with: the one asked for by PG_CONFIG, else the
# one in the path, else the newest installed.  Fails if there is none.
find_pg_config()
{
	if [ -n "${PG_CONFIG:-}" ]; then
		usable "$PG_CONFIG" || return 1
		command -v "$PG_CONFIG"
		return
	fi
	set -- pg_config
	for version in $SUPPORTED; do
		set -- "$@" "/usr/lib/postgresql/$version/bin/pg_config" "/usr/pgsql-$version/bin/pg_config"
	done
	for candidate; do
		if usable "$candidate"; then
			command -v "$candidate"
			return
		fi
	done
	return 1
}

# Prints the path of a tool, which may lie in an unpacked package.
find_tool()
{
	PATH="$PATH:/usr/sbin:$PWD/tmp/tools/bin" command -v "$1"
}

# Prints a TCP port of 127.0.0.1 that nobody listens on now.
free_port()
{
	perl -MIO::Socket::INET -e '
		print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}
