#!/usr/bin/perl
#
# Turns published test cases (JSON) into C tables for the unit tests:
#   cases.pl mustache FILE...
#   cases.pl signature FILE
#   cases.pl jwt FILE_OF_RFC_7520 FILE_OF_SERVICE_ACCOUNT
#   cases.pl errors FILE
#   cases.pl identifier FILE...
# A file that is not there gives no case; the test then says that it skipped.

use strict;
use warnings;
use JSON::PP;
use MIME::Base64;

sub c_string
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	my $bytes = $text;
	utf8::encode($bytes);
	$bytes =~ s/([^ !#-\[\]-~])/sprintf '\\%03o', ord $1/ge;
	return "\"$bytes\"";
}

sub read_json
{
	my ($path) = @_;
	open my $file, '<', $path or return;
	local $/;
	return JSON::PP->new->utf8->decode(<$file>);
}

# Values by dotted name, as a caller of simple substitution knows them.
sub flatten
{
	my ($data, $prefix, $out) = @_;
	for my $key (sort keys %$data)
	{
		next if $key =~ /[^A-Za-z0-9_]/;    # dotted names are never single keys
		my $value = $data->{$key};
		if (ref $value eq 'HASH')
		{
			flatten($value, "$prefix$key.", $out);
		}
		elsif (!ref $value)
		{
			push @$out, "$prefix$key", $value if defined $value;
		}
	}
	return $out;
}

my ($kind, @paths) = @ARGV;

if ($kind eq 'mustache')
{
	print "static const struct\n{\n\tconst char *name;\n\tconst char *template;\n",
	  "\tconst char *expected;\n\tconst char *values[12];\n}\t\t\tcases[] = {\n";
	for my $test (map { my $j = read_json($_); $j ? @{ $j->{tests} } : () } @paths)
	{
		# sections and the implicit iterator are beyond names
		next if $test->{template} =~ /\{\{[#^\/]|\{\{[&{]?\s*\./;
		my $values = flatten($test->{data}, '', []);
		printf "\t{%s, %s, %s, {%s}},\n", (map { c_string($_) } @$test{qw(name template expected)}),
		  join(', ', (map { c_string($_) } @$values), 'NULL');
	}
	print "\t{NULL, NULL, NULL, {NULL}}\n};\n";
}
elsif ($kind eq 'jwt')
{
	my ($rfc, $account) = map { read_json($_) } @paths;
	my $key = $account && $account->{service_account}{private_key};
	my $decode = sub { my $text = shift; $text =~ tr/-_/+\//; return decode_base64($text . '=' x (-length($text) % 4)) };
	print "static const struct\n{\n\tconst char *name;\n\tconst char *key;\n\tconst char *header;\n",
	  "\tconst char *payload;\n\tconst char *token;\n}\t\t\tcases[] = {\n";
	# both are signed by the key of RFC 7520, which the account has in PEM
	for my $case ($rfc && $key ? [ 'RFC 7520, 4.1', $rfc->{output}{compact} ] : (),
		$key ? [ 'a service account', $account->{assertion} ] : ())
	{
		my ($name, $token) = @$case;
		my ($header, $payload) = map { $decode->($_) } split /\./, $token;
		utf8::decode($payload);
		printf "\t{%s, %s, %s, %s, %s},\n", map { c_string($_) } $name, $key, $header, $payload, $token;
	}
	print "\t{NULL, NULL, NULL, NULL, NULL}\n};\n";
}
elsif ($kind eq 'errors')
{
	print "static const struct\n{\n\tconst char *provider;\n\tconst char *name;\n\tlong\t\tstatus;\n",
	  "\tconst char *body;\n\tconst char *expect;\n}\t\t\tcases[] = {\n";
	my $json = read_json($paths[0]) // {};
	for my $provider (sort keys %$json)
	{
		for my $error (@{ $json->{$provider} })
		{
			my $body = ref $error->{body} ? JSON::PP->new->canonical->encode($error->{body}) : $error->{body};
			printf "\t{%s, %s, %d, %s, %s},\n", c_string($provider), c_string($error->{name}),
			  $error->{http_status}, c_string($body), c_string($error->{expect});
		}
	}
	print "\t{NULL, NULL, 0, NULL, NULL}\n};\n";
}
elsif ($kind eq 'identifier')
{
	my %kind = (em => 'EMAIL', ph => 'PHONE', dobd => 'DAY', dobm => 'MONTH', doby => 'YEAR');
	print "static const struct\n{\n\tconst char *field;\n\tMktgIdentifier kind;\n",
	  "\tconst char *input;\n\tconst char *hash;\n}\t\t\tcases[] = {\n";
	for my $vector (map { my $j = read_json($_); $j ? @{ $j->{vectors} } : () } @paths)
	{
		# a number without its country, parts of a name, a handle: what the form comes from is not ours
		my $input = $vector->{field} =~ /^(ph|f5first|fi|handle)$/ ? $vector->{normalised} : $vector->{input};
		$input = "+$input" if $vector->{field} eq 'ph';
		printf "\t{%s, MKTG_IDENTIFIER_%s, %s, %s},\n", c_string($vector->{field}), $kind{ $vector->{field} } // 'NAME',
		  c_string($input), c_string($vector->{sha256});
	}
	print "\t{NULL, MKTG_IDENTIFIER_NAME, NULL, NULL}\n};\n";
}
else
{
	print "static const struct\n{\n\tconst char *name;\n\tconst char *secret;\n\tconst char *id;\n",
	  "\tint64_t\t\ttimestamp;\n\tconst char *body;\n\tconst char *signature;\n\tbool\t\tvalid;\n",
	  "}\t\t\tcases[] = {\n";
	my $json = read_json($paths[0]);
	for my $vector ($json ? @{ $json->{vectors} } : ())
	{
		# the age of a signature is the receiver's business
		next if abs($vector->{now} - $vector->{webhook_timestamp}) > $vector->{tolerance_seconds};
		next if grep { !defined } @$vector{qw(secret webhook_id webhook_timestamp body webhook_signature)};
		printf "\t{%s, %s, %s, %d, %s, %s, %s},\n",
		  (map { c_string($_) } @$vector{qw(name secret webhook_id)}), $vector->{webhook_timestamp},
		  (map { c_string($_) } @$vector{qw(body webhook_signature)}),
		  $vector->{valid} ? 'true' : 'false';
	}
	print "\t{NULL, NULL, NULL, 0, NULL, NULL, false}\n};\n";
}
