# Segments of short messages as we count them, against Twilio's own calculator
# (npm sms-segments-calculator), over texts drawn from a seed.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Encode qw(encode);
use JSON::PP;
use Test::More;

my $node = find_tool('node');
plan skip_all => 'node is not installed' unless $node;
plan skip_all => 'sms-segments-calculator is not installed (npm ci)' unless -e 'node_modules/sms-segments-calculator';

my $seed = $ENV{SEED} // 8;
srand $seed;
my @plain = ('a' .. 'z', 'A' .. 'Z', 0 .. 9, ' ', '.', "\n", '@', '$', '_', "\x{e9}", "\x{c7}", "\x{df}", "\x{394}");
my @extended = ('[', ']', '{', '}', '^', '\\', '~', '|', "\x{20ac}", "\f");
my @others = ("\x{2019}", '`', "\x{e7}", "\x{928}", "\x{44f}", "\x{4e2d}");
my @pairs = ("\x{1f389}", "\x{1f600}", "\x{20000}");

# A text of N characters: mostly plain, some of the others by the share given.
sub draw
{
	my ($n, $share, @of) = @_;
	return join '', map { rand() < $share ? $of[ rand @of ] : $plain[ rand @plain ] } 1 .. $n;
}

my @texts = (
	(map { 'a' x $_ } 1, 153, 154, 159 .. 162, 305 .. 308, 459, 460, 1600),
	(map { '[' x $_ } 76, 77, 80, 81, 153, 154),
	(map { "\x{44f}" x $_ } 1, 66 .. 72, 133 .. 136, 201, 202),
	(map { "\x{1f389}" x $_ } 1, 33 .. 36, 66 .. 68),
	(map { draw(1 + rand 500, 0, 'a') } 1 .. 200),
	(map { draw(1 + rand 500, rand, @extended) } 1 .. 200),
	(map { draw(1 + rand 300, rand 0.1, @others, @extended) } 1 .. 200),
	(map { draw(1 + rand 300, rand, @others, @pairs) } 1 .. 200));

my $directory = directory();
system($ENV{CC} // 'gcc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-Wall', '-Isrc', '-o', "$directory/measure",
	'test/contract/measure.c', 'src/core/sms.c') == 0 or die "measure.c does not compile\n";
open my $out, '>:raw', "$directory/texts" or die $!;
print $out map { encode('UTF-8', $_) . "\0" } @texts;
close $out;
open $out, '>:raw', "$directory/texts.json" or die $!;
print $out JSON::PP->new->ascii->encode(\@texts);
close $out;

my @ours = `$directory/measure < $directory/texts`;
my @theirs = `$node -e '
	const { SegmentedMessage } = require("$ENV{PWD}/node_modules/sms-segments-calculator");
	for (const text of JSON.parse(require("fs").readFileSync("$directory/texts.json")))
	{
		const sms = new SegmentedMessage(text, "auto");
		console.log(sms.encodingName, sms.messageSize / (sms.encodingName === "GSM-7" ? 7 : 16), sms.segmentsCount);
	}'`;
is(scalar @theirs, scalar @texts, 'the calculator has counted them all');
my @different = grep { $ours[$_] ne $theirs[$_] } 0 .. $#texts;
is(scalar @different, 0, scalar(@texts) . " texts have the same alphabet, units and segments (seed $seed)")
	or diag map { "ours $ours[$_]theirs $theirs[$_]" . encode('UTF-8', $texts[$_]) . "\n" } @different[ 0 .. 1 ];
cmp_ok(scalar(grep { /^UCS-2 \d+ [3-9]/ } @ours), '>', 50, 'many of several segments');

done_testing();
