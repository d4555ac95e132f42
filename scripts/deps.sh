#!/bin/sh
# Sees that everything is there that building, demo and tests need, and
# installs what is missing (Debian packages; sudo when not root).  Calls apt
# only if something is missing.  What each is for: doc/dependencies.md.
#
#	scripts/deps.sh			for build, demo, tests and benchmarks
#	scripts/deps.sh demo	for build and demo
set -eu
umask 022
cd "$(dirname "$0")/.."
. scripts/lib.sh

purpose=${1:-test}
missing=		# packages to install
unpack=			# packages only unpacked, under tmp/tools: their daemons must not start

has_header()
{
	printf '#include <%s>\n' "$1" | gcc -fsyntax-only -x c -
}

has_extension()
{
	[ -n "$pg_config" ] && [ -e "$("$pg_config" --sharedir)/extension/$1.control" ]
}

has_fuzzer()
{
	echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return 0; }' |
		clang -fsanitize=fuzzer,address -x c - -o /dev/null
}

has_library()
{
	set -- /usr/lib/*/"$1"
	[ -e "$1" ]
}

# PACKAGE COMMAND [ARG]...: the package is missing unless the command succeeds
check()
{
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

# The server version to install: that of a server without headers, else what
# the distribution calls its PostgreSQL, else the newest on offer.
choose_version()
{
	metapackage=$(apt-cache depends postgresql 2>/dev/null |
		sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p')
	for version in $SUPPORTED; do
		[ ! -x "/usr/lib/postgresql/$version/bin/initdb" ] || { echo "$version"; return; }
	done
	for version in $SUPPORTED; do
		[ "$version" != "$metapackage" ] || { echo "$version"; return; }
	done
	for version in $SUPPORTED; do
		apt-cache show "postgresql-server-dev-$version" >/dev/null 2>&1 && { echo "$version"; return; }
	done
	echo 15
}

find_missing()
{
	missing=
	unpack=
	if pg_config=$(find_pg_config); then
		version=$(pg_major "$pg_config")
	elif [ -n "${PG_CONFIG:-}" ]; then
		fail "PG_CONFIG=$PG_CONFIG is not of a PostgreSQL 15, 16 or 17 with its headers"
	else
		version=$(choose_version)
		missing=" postgresql-$version postgresql-server-dev-$version"
	fi
	check gcc command -v gcc
	check libc6-dev has_header stdio.h
	check libcurl4-openssl-dev has_header curl/curl.h
	check libssl-dev has_header openssl/evp.h
	check libjson-c-dev has_header json-c/json.h
	check perl perl -MTest::More -e 1
	[ "$purpose" != demo ] || return 0
	check libipc-run-perl perl -MIPC::Run -e 1
	check "postgresql-$version-pgtap" has_extension pgtap
	check "postgresql-$version-cron" has_extension pg_cron
	find_tool smtp-sink >/dev/null || unpack=" postfix"
	[ -z "$unpack" ] || check libnsl2 has_library libnsl.so.2
	find_tool nginx >/dev/null || unpack="$unpack nginx"
	check openssl command -v openssl
	check clang command -v clang
	check libclang-rt-dev has_fuzzer
}

# apt-get as root
apt_get()
{
	if [ "$(id -u)" = 0 ]; then
		DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
	elif command -v sudo >/dev/null; then
		sudo DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
	else
		fail "please run as root, then try again: apt-get update; apt-get install --no-install-recommends$missing"
	fi
}

# What package.json names, as package-lock.json pins it, under node_modules; a
# mark that is written last tells a whole installation.
install_node_modules()
{
	! cmp -s package-lock.json node_modules/.installed || return 0
	command -v npm >/dev/null || {
		echo "mktg: npm is not installed; contract tests with packages of npm will skip"
		return 0
	}
	echo "mktg: installing packages of npm under node_modules"
	if npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
		cp package-lock.json node_modules/.installed
	else
		echo "mktg: could not get them; contract tests with packages of npm will skip"
	fi
}

# Puts the programs of a package under tmp/tools, with a caller in tmp/tools/bin
# that knows where its libraries are.
unpack_package()
{
	tools=$PWD/tmp/tools
	mkdir -p "$tools/bin"
	(cd "$tools" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1") || return
	dpkg -x "$tools/$1"_*.deb "$tools"
	(cd "$tools" && rm -rf ./*.deb etc var lib usr/share)
	case $1 in
		postfix) program=smtp-sink ;;
		*) program=$1 ;;
	esac
	cat > "$tools/bin/$program" <<-END
		#!/bin/sh
		tools=\$(dirname "\$0")/..
		LD_LIBRARY_PATH=\$tools/usr/lib/$1 exec "\$tools/usr/sbin/$program" "\$@"
	END
	chmod 755 "$tools/bin/$program"
}

[ "$purpose" = demo ] || install_node_modules
find_missing
[ -n "$missing$unpack" ] || exit 0

if [ -n "$missing" ]; then
	command -v apt-get >/dev/null ||
		fail "please install what these Debian packages hold, then try again:$missing$unpack"
	apt_get update
	find_missing		# now that apt knows the versions on offer
	echo "mktg: installing$missing"
	# shellcheck disable=SC2086 # a list
	apt_get install -y --no-install-recommends $missing
fi
for package in $unpack; do
	echo "mktg: unpacking $package under tmp/tools"
	unpack_package "$package" || { (apt_get update) && unpack_package "$package"; } ||
		echo "mktg: could not get $package; tests that need it will skip"
done

find_missing
[ -z "$missing" ] || fail "still missing after installing:$missing"
