#!/bin/sh
# Runs a script in a working copy of the sources, as a user PostgreSQL accepts:
# "postgres" when root calls, the own user otherwise.  One copy a user and a
# server version, under tmp/ where that will do, else under /var/tmp; so neither
# objects nor owners ever mix.
#
#	scripts/work.sh COMMAND [ARG]...
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

source=$PWD
PG_CONFIG=$(find_pg_config) || fail "no PostgreSQL 15, 16 or 17 with its headers found; make deps installs one"
version=$(pg_major "$PG_CONFIG")
if [ "$(id -u)" != 0 ]; then
	user=$(id -un)
elif id postgres >/dev/null 2>&1; then
	user=postgres
else
	fail "PostgreSQL refuses to run as root, and there is no user postgres; run this as an ordinary user"
fi

# as that user
as()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$user" -- "$@"
	else
		"$@"
	fi
}

# Makes the directory, or finds it as the user's own; false if neither.
own_directory()
{
	# shellcheck disable=SC2016 # for the inner shell
	as sh -c 'umask 077; mkdir -p "$1" 2>/dev/null; [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && cd "$1"' sh "$1"
}

# Everybody may add to tmp/, as in /tmp.
mkdir -p tmp 2>/dev/null || true
chmod 1777 tmp 2>/dev/null || true
work=$source/tmp/$user-$version
case $work in
	# neither make nor a socket (107 bytes) copes with every path
	*[!A-Za-z0-9/._+-]*) elsewhere=yes ;;
	*) if [ ${#work} -le 70 ] && own_directory "$work"; then elsewhere=no; else elsewhere=yes; fi ;;
esac
if [ $elsewhere = yes ]; then
	work=/var/tmp/mktg-$user-$version-$(echo "$source" | cksum | cut -d ' ' -f 1)
	own_directory "$work" || fail "cannot work in $work"
	echo "mktg: user $user cannot work in $source/tmp; working in the copy $work"
fi

# Bring the copy up to date: files that went go, times stay, so that make
# rebuilds what has changed and no more.
list=$(mktemp)
trap 'rm -f "$list"' EXIT
find . \( -path ./tmp -o -path ./.git -o -path ./node_modules \) -prune -o \( -type f -o -type l \) \
	! -name '*.o' ! -name '*.bc' ! -name '*.so' ! -name '*_sql.h' ! -name '*_json.h' ! -name 'mktg--*.sql' ! -name .built-for -print |
	LC_ALL=C sort > "$list"
# shellcheck disable=SC2016 # for the inner shell
as sh -c 'umask 022; cd "$1"; cat > .files.new
	[ ! -e .files ] || LC_ALL=C comm -23 .files .files.new | while read -r file; do rm -f "$file"; done
	mv .files.new .files' sh "$work" < "$list"
tar -cf - -T "$list" | as tar -xf - -C "$work"
if [ -d tmp/tools ]; then
	tar -cf - tmp/tools | as tar -xf - -C "$work"
fi
# large, and the same until the lock file is another
if [ -e node_modules/.installed ] && ! as cmp -s - "$work/node_modules/.installed" < node_modules/.installed; then
	as rm -rf "$work/node_modules"
	tar -cf - --exclude=node_modules/.installed node_modules | as tar -xf - -C "$work"
	tar -cf - node_modules/.installed | as tar -xf - -C "$work"
fi
rm -f "$list"
trap - EXIT

# The caller's PostgreSQL settings and make flags are not ours.
for name in $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p') MAKEFLAGS MFLAGS MAKELEVEL TZ CDPATH; do
	unset "$name"
done
MKTG_SPECS=${MKTG_SPECS:-$source/../shared/specs}
export PG_CONFIG MKTG_SPECS
export LC_ALL=C PSQL_PAGER=cat PATH="$PATH:/usr/sbin:/sbin:$work/tmp/tools/bin"
cd "$work"
as mkdir -p tmp
as env HOME="$work/tmp" "$@"
