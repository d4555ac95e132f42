#!/bin/bash
# Runs the tests, in a working copy (see work.sh), each section with a server
# of its own.  An assertion counts as one where a test speaks TAP, a file
# otherwise; a file that fails with no failed assertion counts as one failure.
# The last line is the sum: "N passed, N failed[, N skipped]".
#
#	[T=NAME] scripts/test.sh SECTION...
#	sections: unit fuzz sql races tap contract lint
set -u
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh

only=${T:-}			# run this file alone, without its suffix
out=$PWD/tmp/test
harness=$(dirname "$("$PG_CONFIG" --pgxs)")/../test		# pg_regress and friends

rm -rf "$out"
mkdir -p "$out"
bindir=$(scripts/tree.sh "$PG_CONFIG") || fail "the build failed"
export PATH="$bindir:$PATH"

# Names of the tests in test/DIRECTORY with a suffix, or the one asked for.
names()
{
	local file
	for file in test/"$1"/*."$2"; do
		[ -e "$file" ] || continue
		file=$(basename "$file" ".$2")
		# the installation is what the others stand on
		[[ -z $only || $file = "$only" || $file = 00_* ]] || continue
		echo "$file"
	done
}

# Counts what a piece of a section has shown: LABEL STATUS FILE-WITH-TAP.
# Writes "passed failed skipped" on a line of the section's count.
count()
{
	awk -v status="$2" '
		/^(ok [0-9]|1\.\.0 ).*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
		# a whole file, as prove says it
		/^test\/.* \.+ skipped/	{ skipped++; next }
		/^ok [0-9]/			{ passed++ }
		/^not ok [0-9].*# TODO/	{ next }
		/^not ok [0-9]/		{ failed++ }
		/^Dubious,/			{ died++ }
		END {
			if (status != 0 && !failed) failed = died ? died : 1
			if (status == 0 && !passed && !failed && !skipped) passed = 1
			print passed + 0, failed + 0, skipped + 0
		}' "$3" >> "$out/$section.count"
	[ "$2" = 0 ] || echo "$1" >> "$out/$section.failed"
}

# Runs pg_regress or pg_isolation_regress on the files of a directory and
# counts each: PROGRAM DIRECTORY SUFFIX
regress()
{
	local tests name
	tests=$(names "$2" "$3")
	[ -n "$tests" ] || return 0
	# shellcheck disable=SC2086 # a list
	"$1" --inputdir=test --outputdir="$out/$section" --bindir="$bindir" \
		--temp-instance="$out/$section/instance" --temp-config=test/test.conf \
		--encoding=UTF8 --no-locale --dbname=mktg_test $tests || true
	for name in $tests; do
		# "test x ... ok" until 15, "ok 1 - x" from 16 on
		if grep -qE "^(test $name +\.\.\. ok|ok [0-9]+ +[-+] $name )" "$out/$section.log"; then
			count "$name" 0 "$out/$section/results/$name.out"
		else
			touch "$out/$section/results/$name.out"
			count "$name" 1 "$out/$section/results/$name.out"
		fi
	done
	if [ -s "$out/$section/regression.diffs" ]; then
		cat "$out/$section/regression.diffs"
	fi
}

# Runs a command that speaks TAP and counts it: LABEL COMMAND...
tap()
{
	local label=$1 status=0
	shift
	timeout -k 10 "${TAP_TIMEOUT:-1200}" "$@" > "$out/$section.$label.log" 2>&1 < /dev/null || status=$?
	# a program that does not say by its status what it has said by its lines
	[ $status != 0 ] || ! grep '^not ok' "$out/$section.$label.log" | grep -qv '# TODO' || status=1
	count "$label" $status "$out/$section.$label.log"
	[ $status = 0 ] || { echo "--- $label (status $status)"; cat "$out/$section.$label.log"; }
}

run_unit()
{
	# the search for leaks needs the right to trace, the address sanitizer /proc
	mkdir -p "$out/unit"
	echo 'int main(void) { return 0; }' > "$out/unit/probe.c"
	gcc -fsanitize=address "$out/unit/probe.c" -o "$out/unit/probe" || return
	"$out/unit/probe" 2> /dev/null || export ASAN_OPTIONS=detect_leaks=0
	"$out/unit/probe" 2> /dev/null || export SANITIZE=undefined
	# shellcheck disable=SC2046 # a list
	PROVE_FLAGS=-v BUILD_DIR=$out/unit tap programs test/unit/run.sh $(names unit c)
}

# Rules come from users: a minute of fuzzing their parser, the corpus of the rest.
run_fuzz()
{
	local source others=
	for source in $(names fuzz c); do
		[ "$source" = rule ] || others="$others $source"
	done
	export BUILD_DIR=$out/fuzz
	if names fuzz c | grep -qx rule; then
		tap rule test/fuzz/run.sh "${FUZZ_SECONDS:-60}" rule
	fi
	# shellcheck disable=SC2086 # a list
	[ -z "$others" ] || tap others test/fuzz/run.sh 0 $others
}

run_sql()
{
	regress "$harness/regress/pg_regress" sql sql
}

run_races()
{
	regress "$harness/isolation/pg_isolation_regress" specs spec
}

# Perl tests of a directory, two at a time.
perl_tests()
{
	local name
	export TESTDIR=$out/$section TESTDATADIR=$out/$section/data TESTLOGDIR=$out/$section/log
	export PG_REGRESS=$harness/regress/pg_regress PERL5LIB=$harness/perl
	mkdir -p "$TESTDIR"
	for name in $(names "$1" pl); do
		while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
			wait -n
		done
		tap "$name" prove -v "test/$1/$name.pl" &
	done
	wait
}

run_tap()
{
	perl_tests t
}

run_contract()
{
	perl_tests contract
}

run_lint()
{
	local status
	tap sources perl test/lint.pl
	scripts/cluster.sh start lint "mktg.databases = ''" "fsync = off" || return
	# shellcheck disable=SC2046 # a list
	set -- psql -X -q -v ON_ERROR_STOP=1 $(scripts/cluster.sh options lint) -d postgres
	"$@" -o /dev/null -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION mktg' -c 'SELECT mktg.install()' &&
		tap catalog "$@" -f test/lint.sql && tap manual test/doc.sh "$@"
	status=$?
	scripts/cluster.sh stop lint
	return $status
}

# Runs a section, prints its line, and its output if something failed.
run_section()
{
	local section=$1 begin=$SECONDS passed=0 failed=0 skipped=0 p f s
	: > "$out/$section.count"
	: > "$out/$section.failed"
	"run_$section" > "$out/$section.log" 2>&1 || count "$section" 1 /dev/null
	while read -r p f s; do
		passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	done < "$out/$section.count"
	echo "$passed $failed $skipped" > "$out/$section.sum"
	[ "$failed" = 0 ] || cat "$out/$section.log"
	printf '%-9s %5d passed %3d failed %3d skipped %4d s%s\n' "$section" "$passed" "$failed" "$skipped" \
		$((SECONDS - begin)) "$(tr '\n' ' ' < "$out/$section.failed" | sed 's/^./  failed: &/')"
}

# The servers of tap and contract leave one processor free most of the time.
(for section in "$@"; do case $section in tap | contract) run_section "$section" ;; esac; done) &
for section in "$@"; do
	case $section in
		tap | contract) ;;
		unit | fuzz | sql | races | lint) run_section "$section" ;;
		*) fail "there is no section $section of tests" ;;
	esac
done
wait

[ -z "${CI:-}" ] || echo "details: $out"
cat "$out"/*.sum | awk '
	{ passed += $1; failed += $2; skipped += $3 }
	END {
		printf "%d passed, %d failed", passed, failed
		if (skipped) printf ", %d skipped", skipped
		print ""
		exit failed > 0
	}'
