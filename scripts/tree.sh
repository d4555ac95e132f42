#!/bin/sh
# Makes a private, relocated copy of the installed PostgreSQL under tmp/root
# and installs the extension into it, so that demo and tests need no root and
# leave the system's PostgreSQL alone.  Prints the tree's bin directory.
#
#	scripts/tree.sh [PG_CONFIG]
set -eu
cd "$(dirname "$0")/.."
pg_config=${1:-${PG_CONFIG:-pg_config}}
root=$PWD/tmp/root
bindir=$("$pg_config" --bindir)
sharedir=$("$pg_config" --sharedir)
libdir=$("$pg_config" --pkglibdir)
stamp="$root/.copied $("$pg_config" --version)"

# anew for another version, or when packages brought other extensions
if [ -n "$(find "$stamp" "$sharedir/extension" "$libdir" -maxdepth 0 -newer "$stamp" 2>&1)" ]; then
	rm -rf "$root"
	for dir in "$bindir" "$libdir" "$sharedir"; do
		mkdir -p "$root$dir"
		cp -R "$dir/." "$root$dir/"
	done
	: > "$stamp"
fi
make -s -j"$(nproc)" all PG_CONFIG="$pg_config" with_llvm=no >&2
make -s install PG_CONFIG="$pg_config" DESTDIR="$root" with_llvm=no >/dev/null
echo "$root$bindir"
