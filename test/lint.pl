#!/usr/bin/perl
#
# Rules of the house that the sources and the library can be asked about; TAP.
# Runs in the checkout, after the build.

use strict;
use warnings;
use File::Find;
use JSON::PP;
use Test::More;

sub read_file
{
	my ($path) = @_;
	open my $file, '<:encoding(UTF-8)', $path or return '';
	local $/;
	return scalar <$file>;
}

sub files
{
	my ($pattern, @directories) = @_;
	my @found;
	find({ no_chdir => 1, wanted => sub { push @found, $_ if /$pattern/ && -f } },
		grep { -e } @directories);
	return sort @found;
}

# Passes if there are no offenders; lists them otherwise.
sub none
{
	my ($name, @offenders) = @_;
	ok(!@offenders, $name) or diag(map { "  $_\n" } @offenders);
}

# ---- the library ----

my @symbols = map { (split)[-1] } grep { / [TDBR] / } `nm -D --defined-only mktg.so`;
ok(@symbols > 0, 'the library exports symbols');
none('the library exports nothing but mktg_*, its function records, magic and _PG_init',
	grep { !/^(mktg_|pg_finfo_mktg_|Pg_magic_func$|_PG_init$)/ } @symbols);

# ---- functions, documentation, tests ----

my $sql = join '', map { read_file($_) } files(qr/\.sql$/, 'sql');
my $docs = join '', map { read_file($_) } files(qr/\.md$/, 'doc', 'README.md');
my $tests = join '', map { read_file($_) } files(qr/\.(sql|spec|pl)$/, qw(test/sql test/specs test/t test/contract));
my %public = map { $_ => 1 } $sql =~ /CREATE FUNCTION mktg\.([a-z]\w*)/g;

none('every public function has a page', grep { $docs !~ /\bmktg\.$_\b/ } sort keys %public);
none('every public function has a test', grep { $tests !~ /\b$_\b/ } sort keys %public);
none('functions are made with CREATE, never OR REPLACE', map { read_file($_) =~ /(CREATE OR REPLACE \S+ \S+)/g } glob 'sql/*.sql');

my %links;
for my $page (files(qr/\.md$/, 'doc', 'bench', 'README.md', 'CHANGELOG.md'))
{
	my ($directory) = $page =~ m{^(.*/)};
	for my $target (read_file($page) =~ /\]\(([^)#\s]+)[^)]*\)/g)
	{
		next if $target =~ /^\w+:/;
		$links{"$page: $target"} = 1 unless -e (($directory // '') . $target);
	}
}
none('links between pages lead somewhere', sort keys %links);

# ---- errors ----

my %codes;
$codes{'MK' . s/\D//gr}++ for read_file('src/base/errors.h') =~ /MKTG_ERRCODE\(('\d', '\d', '\d')\)/g;
my %listed = map { $_ => 1 } read_file('doc/errors.md') =~ /\b(MK\d{3})\b/g;
none('no SQLSTATE stands for two things', grep { $codes{$_} > 1 } sort keys %codes);
none('every SQLSTATE stands in doc/errors.md', grep { !$listed{$_} } sort keys %codes);
none('doc/errors.md lists no other', grep { !$codes{$_} } sort keys %listed);

# ---- files ----

# a program that a Perl test builds or starts counts as run
my %runs = ('unit' => 'c', 'sql' => 'sql', 'specs' => 'spec', 't' => 'pl', 'contract' => 'pl');
my %idle;
for my $file (files(qr{^test/(unit|sql|specs|t|contract)/[^/]+\.(c|sql|spec|pl|t|py|sh)$}, 'test'))
{
	my ($directory, $base, $suffix) = $file =~ m{^test/(\w+)/([^/]+)\.(\w+)$};
	next if $suffix eq $runs{$directory};
	my $others = join '', map { read_file($_) } grep { $_ ne $file } files(qr/\.(pl|sh|pm)$/, "test/$directory"), 'scripts/test.sh';
	$idle{$file} = 1 unless $others =~ /\b\Q$base\E\b/;
}
none('every test file runs', sort keys %idle);
none('no test of SQL and of races share a name',
	grep { my ($name) = m{([^/]+)\.spec$}; -e "test/sql/$name.sql" } glob 'test/specs/*.spec');
none('every pg_regress test has its expected output',
	grep { my ($name) = m{([^/]+)\.\w+$}; !-e "expected/$name.out" }
	files(qr/\.(sql|spec)$/, qw(test/sql test/specs)));
none('no expected output shows a failure',
	grep { read_file($_) =~ /^(not ok|# Looks like)/m } files(qr/\.out$/, 'expected'));

my (@long_functions, @long_files);
for my $source (files(qr/\.c$/, 'src'))
{
	my ($line, $begin) = (0, 0);
	for (split /\n/, read_file($source))
	{
		$line++;
		$begin = $line if /^\{/;
		push @long_functions, "$source:$begin" if /^\}/ && $line - $begin > 120;
	}
	push @long_files, $source if $line > 800;
}
none('no function has more than 120 lines', @long_functions);
none('no C file has more than 800 lines', @long_files);

my ($version) = read_file('mktg.control') =~ /^default_version = '(.*)'/m;
my $meta = eval { decode_json(read_file('META.json')) } // {};
is($meta->{version}, $version, 'META.json has the version of the control file');
is($meta->{provides}{mktg}{version}, $version, 'and provides it');
none('META.json names files that are there',
	grep { !-e } grep { defined } @{ $meta->{provides}{mktg} // {} }{qw(file docfile)});
like(read_file('CHANGELOG.md'), qr/^## \Q$version\E\b/m, 'CHANGELOG.md tells of the version');

SKIP:
{
	skip 'shellcheck is not installed', 1 unless grep { -x "$_/shellcheck" } split /:/, $ENV{PATH};
	my $complaints = join '', map { `shellcheck -x -S warning $_` } files(qr/\.sh$/, qw(scripts test bench));
	is($complaints, '', 'shellcheck has nothing to say');
}

done_testing();
