# A world of a test's own, made without being root: the test runs in Linux
# namespaces in which it has a network with nothing but 127.0.0.1, name servers
# that never answer, and a small disk.
#
#	use MktgNamespace (names => 1, disk => '64m');
#
# starts the test anew in there; it must be used before the modules that make
# directories.  Where the kernel or a container does not allow it the test runs
# as it is, and asks $MktgNamespace::names and $MktgNamespace::disk.
package MktgNamespace;

use strict;
use warnings;

# true: names are asked of 127.0.0.1 port 53, where nobody answers
our $names = $ENV{MKTG_NAMESPACE_NAMES};

# an empty directory with a file system of the size asked for
our $disk = $ENV{MKTG_NAMESPACE_DISK};

our $why = 'user namespaces are not allowed here';

sub import
{
	my ($class, %opt) = @_;
	my @again = ($^X, $0, @ARGV);

	return if $ENV{MKTG_NAMESPACE};
	# a name space in which one is root, and one in it where one is oneself again
	my @inner = ('unshare', '--user', "--map-user=$>", '--map-group=' . (split ' ', $))[0], '--');
	my @outer = ('unshare', '--user', '--map-root-user', '--mount', '--net', '--');
	return if system("@outer @inner true >/dev/null 2>&1") != 0;
	$ENV{MKTG_NAMESPACE} = 1;
	exec(@outer, $^X, __FILE__, $opt{names} // '', $opt{disk} // '', @inner, @again) or die "unshare: $!";
}

# ---- as root of the outer one ----

sub switch_on_loopback
{
	my $request = pack('a16 s x22', 'lo', 0x41);	# up and running

	socket(my $socket, 2, 2, 0) or die "socket: $!";
	ioctl($socket, 0x8914, $request) or die "lo: $!";	# SIOCSIFFLAGS
}

# A name server that hears everything and says nothing.  Its socket stays open
# in the test.
sub silence_names
{
	require IO::Socket::INET;
	$^F = 1000;
	our $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 53, Proto => 'udp') or return;
	my $directory = ($ENV{TMPDIR} // '/tmp') . "/mktg_names_$$";
	mkdir $directory or return;
	open(my $file, '>', "$directory/resolv.conf") or return;
	print $file "nameserver 127.0.0.1\noptions timeout:30 attempts:3\n";
	close $file;
	my $done = system('mount', '--bind', "$directory/resolv.conf", '/etc/resolv.conf') == 0;
	unlink "$directory/resolv.conf";
	rmdir $directory;
	$ENV{MKTG_NAMESPACE_NAMES} = 1 if $done;
}

sub make_disk
{
	my ($size) = @_;

	# it hides what is there from this test alone
	my $directory = '/mnt';
	system('mount', '-t', 'tmpfs', '-o', "size=$size,mode=1777", 'mktg', $directory) == 0 or return;
	$ENV{MKTG_NAMESPACE_DISK} = $directory;
}

if (!caller)
{
	my ($with_names, $size, @command) = @ARGV;

	switch_on_loopback();
	silence_names() if $with_names;
	make_disk($size) if $size;
	exec(@command) or die "$command[0]: $!";
}

1;
