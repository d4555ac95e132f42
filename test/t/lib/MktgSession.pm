# A session that stays: psql on two pipes, for tests that ask thousands of
# questions.  What psql says on standard error comes in order with the answers.
package MktgSession;

use strict;
use warnings;

use IPC::Open2;

sub new
{
	my ($class, $node, $db) = @_;
	my $self = bless { n => 0 }, $class;
	$self->{pid} = open2($self->{out}, $self->{in}, 'sh', '-c', 'exec "$0" "$@" 2>&1',
		$node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr($db // 'postgres'));
	binmode $self->{$_}, ':encoding(UTF-8)' for qw(in out);
	return $self;
}

# The answer, or what psql complains of; never dies.
sub ask
{
	my ($self, $sql) = @_;
	my $mark = '-- answered ' . ++$self->{n};
	my @lines;

	# psql waits for the rest of a statement that is none
	local $SIG{ALRM} = sub { die "no answer to:\n$sql\n" };
	alarm 180;
	print { $self->{in} } "$sql\n;\n\\echo '$mark'\n";
	$self->{in}->flush;
	while (defined(my $line = readline $self->{out}))
	{
		chomp $line;
		push @lines, $line;
		next if $line ne $mark;
		alarm 0;
		pop @lines;
		return join "\n", @lines;
	}
	die "the session ended after:\n$sql\n@lines\n";
}

# The answer; dies with an error or a warning.
sub sql
{
	my ($self, $sql) = @_;
	my $answer = $self->ask($sql);
	die "$answer\nafter: $sql\n" if $answer =~ /^(?:psql:.*?)?(ERROR|FATAL|PANIC|WARNING): /m;
	return $answer;
}

# An answer of one value that is JSON.
sub json
{
	my ($self, $sql) = @_;
	require JSON::PP;
	return JSON::PP->new->decode($self->sql($sql));
}

sub end
{
	my ($self) = @_;
	close $self->{in};
	close $self->{out};
	waitpid $self->{pid}, 0;
}

1;
