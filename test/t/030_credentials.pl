# Credentials: where the worker takes them from, and that they show nowhere.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IO::Socket::INET;

my $node = PostgreSQL::Test::Cluster->new('credentials');
$node->init;
$node->append_conf('postgresql.conf', <<'END');
shared_preload_libraries = 'mktg'
mktg.databases = 'postgres'
log_statement = none
log_min_error_statement = error
log_min_duration_statement = -1
END
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');

# An SMTP server that wants a login: it notes what each client gives.
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10, ReuseAddr => 1) or die $!;
my $port = $listener->sockport;
my $logins = PostgreSQL::Test::Utils::tempdir . '/logins';
my $server = fork // die "fork: $!";
if ($server == 0)
{
	local $SIG{CHLD} = 'IGNORE';
	while (my $client = $listener->accept)
	{
		next if fork;
		my $say = sub { $client->syswrite("$_[0]\r\n") };
		$say->('220 stub');
		while (my $line = <$client>)
		{
			if ($line =~ /^EHLO/) { $say->("250-stub\r\n250 AUTH PLAIN") }
			elsif ($line =~ /^AUTH/)
			{
				$say->('334 ');
				open my $out, '>>', $logins;
				$out->syswrite(scalar <$client>);
				$say->('235 fine');
			}
			elsif ($line =~ /^DATA/)
			{
				$say->('354 go on');
				while (my $text = <$client>) { last if $text eq ".\r\n" }
				$say->('250 fine');
			}
			else { $say->('250 fine') }
		}
		exec 'true';
	}
	exec 'true';
}

# What a login looks like on the wire.
sub login
{
	my ($user, $password) = @_;
	require MIME::Base64;
	return MIME::Base64::encode_base64("\0$user\0$password", '') . "\r\n";
}

# Sends a message through the server and waits for its status.
my $sent = 0;
sub send_one
{
	my ($want) = @_;
	my $id = $node->safe_psql('postgres', "SELECT mktg.send(1, 'hello', sender => 'mail', idempotency_key => 'k" . $sent++ . "')");
	return $node->poll_query_until('postgres',
		"SELECT status = '$want' FROM mktg.message WHERE ref LIKE '%k" . ($sent - 1) . "%'");
}

my $file = PostgreSQL::Test::Utils::tempdir . '/credentials';
sub write_file
{
	my ($text, $mode) = @_;
	open my $out, '>', $file or die $!;
	print $out $text;
	close $out;
	chmod $mode, $file;
	return;
}

$node->safe_psql('postgres', <<END);
INSERT INTO mktg.contact (contact_id, email) VALUES (1, 'bob\@example.com');
SELECT mktg.create_template('hello', 'email', 'Hello', body => 'Hello');
CREATE SERVER mail FOREIGN DATA WRAPPER mktg_provider
    OPTIONS (driver 'smtp', host '127.0.0.1', port '$port', tls 'none');
SELECT mktg.set_credential('mail', 'user', 'shop');
SELECT mktg.set_credential('mail', 'password', 'canary-mapping');
SELECT mktg.set_sender('mail', 'mail', 'email', 'shop\@shop.example');
END

ok(send_one('sent'), 'a message goes out');
is((slurp_file($logins) =~ /[^\n]*\n\z/g)[0], login('shop', 'canary-mapping'), 'with the credentials of the user mapping');

write_file("user=filed\npassword=canary-file\n", 0600);
$node->safe_psql('postgres', "ALTER SERVER mail OPTIONS (ADD credential_file '$file')");
ok(send_one('sent'), 'a message goes out');
is((slurp_file($logins) =~ /[^\n]*\n\z/g)[0], login('filed', 'canary-file'), 'with those of the file, which come first');

# a file that others may read stops the sender, not the message
write_file("user=filed\npassword=canary-open\n", 0644);
my $offset = -s $node->logfile;
$node->safe_psql('postgres', "ALTER SERVER mail OPTIONS (ADD max_connections '3')");
$node->safe_psql('postgres', "SELECT mktg.send(1, 'hello', sender => 'mail', idempotency_key => 'waits')");
$node->wait_for_log(qr/could not open provider "mail": credential file may be read by others \(mode 644\): make it 0600/, $offset);
is($node->safe_psql('postgres', "SELECT status, attempts FROM mktg.message WHERE ref LIKE '%waits%'"), 'queued|0',
	'the message waits, no attempt was burnt');

# errors do not write the statement into the log
for my $statement ("SELECT mktg.set_credential('nowhere', 'password', 'canary-1')",
	"SELECT mktg.set_credential('mail', 'passwort', 'canary-2')",
	"SELECT mktg.set_credential('mail', 'password', 'canary-3'), 1 / (random() * 0)::int")
{
	isnt($node->psql('postgres', $statement), 0, $statement =~ s/canary-./***/r);
}
my $log = slurp_file($node->logfile);
like($log, qr/STATEMENT:  SELECT mktg\.set_credential\(\.\.\.\)/, 'the log shows another statement');
unlike($log, qr/canary/, 'no secret in the log');

$node->stop('fast');
kill 'KILL', $server;
waitpid $server, 0;
done_testing();
