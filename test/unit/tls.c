/*-------------------------------------------------------------------------
 *
 * tls.c
 *		Unit tests of SMTP over TLS: STARTTLS and implicit, and which
 *		certificates are taken.
 *
 * IDENTIFICATION
 *		test/unit/tls.c
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "stub.h"

typedef struct Server
{
	SSL_CTX    *context;
	bool		implicit;
	bool		inject;			/* says more than it should before TLS begins */
} Server;

static char ca_file[] = "/tmp/mktg_unit_XXXXXX";

/* ---- the server ---- */

static void
say(int fd, SSL *ssl, const char *text)
{
	if (ssl == NULL)
		stub_say(fd, text);
	else if (SSL_write(ssl, text, (int) strlen(text)) <= 0)
		_exit(0);
}

static bool
read_line(int fd, SSL *ssl, char *line, size_t size)
{
	size_t		length = 0;

	while (length + 1 < size)
	{
		char		byte;

		if ((ssl == NULL ? read(fd, &byte, 1) : SSL_read(ssl, &byte, 1)) != 1)
			return false;
		if (byte == '\n')
			break;
		line[length++] = byte;
	}
	line[length] = '\0';
	return true;
}

static SSL *
begin_tls(int fd, SSL_CTX *context)
{
	SSL		   *ssl = SSL_new(context);

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1)
		_exit(0);
	return ssl;
}

static void
serve(int fd, StubShared *shared, const void *argument)
{
	const Server *server = argument;
	SSL		   *ssl = server->implicit ? begin_tls(fd, server->context) : NULL;
	char		line[2000];

	say(fd, ssl, "220 stub\r\n");
	while (read_line(fd, ssl, line, sizeof(line)))
	{
		if (strncasecmp(line, "EHLO", 4) == 0)
			say(fd, ssl, ssl == NULL ? "250-stub\r\n250 STARTTLS\r\n" : "250 stub\r\n");
		else if (strncasecmp(line, "STARTTLS", 8) == 0)
		{
			say(fd, ssl, server->inject ? "220 go\r\n250 injected\r\n" : "220 go\r\n");
			ssl = begin_tls(fd, server->context);
		}
		else if (strncasecmp(line, "DATA", 4) == 0)
		{
			say(fd, ssl, "354 go on\r\n");
			while (read_line(fd, ssl, line, sizeof(line)) && strcmp(line, ".\r") != 0)
				;
			/* a message that came in the clear counts for nothing good */
			__atomic_add_fetch(&shared->requests, ssl != NULL ? 1 : 1000, __ATOMIC_SEQ_CST);
			say(fd, ssl, "250 fine\r\n");
		}
		else
			say(fd, ssl, "250 fine\r\n");
	}
}

/* A certificate for localhost that vouches for itself; written to ca_file too. */
static SSL_CTX *
make_context(void)
{
	EVP_PKEY   *key = EVP_RSA_gen(2048);
	X509	   *certificate = X509_new();
	X509_NAME  *name = X509_get_subject_name(certificate);
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
												(char *) "DNS:localhost");
	SSL_CTX    *context = SSL_CTX_new(TLS_server_method());
	FILE	   *file = fdopen(mkstemp(ca_file), "w");

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) "localhost", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_add_ext(certificate, names, -1);
	X509_EXTENSION_free(names);
	if (X509_sign(certificate, key, EVP_sha256()) == 0 ||
		SSL_CTX_use_certificate(context, certificate) != 1 ||
		SSL_CTX_use_PrivateKey(context, key) != 1 ||
		PEM_write_X509(file, certificate) != 1)
		stub_abort("certificate");
	fclose(file);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}

/* ---- the tests ---- */

static void
try(MktgTransport *transport, const Server *server, const char *host, const char *tls,
	bool with_ca, int messages, MktgOutcomeKind want, const char *name)
{
	Stub		stub = stub_start(serve, server);
	char		port[20];
	MktgSetting settings[] = {
		{"host", host}, {"port", port}, {"tls", tls}, {"timeout_ms", "3000"}, {"ca_file", ca_file}
	};
	MktgProvider *provider;
	MktgDelivery delivery = {
		.id = "m1", .attempt = 1, .channel = "email", .ref = "", .address = "bob@example.com",
		.from_address = "shop@example.org", .body = "hello", .body_length = 5, .hold = true
	};

	snprintf(port, sizeof(port), "%d", stub.port);
	provider = stub_provider(mktg_driver_find("smtp"), settings, with_ca ? 5 : 4);
	for (int i = 0; i < messages; i++)
		stub_send(transport, provider, &delivery);
	is_kind(&delivery, want, name);
	is_int(stub.shared->requests, want == MKTG_OUTCOME_SENT ? messages : 0,
		   "what has arrived, and not in the clear");
	if (want == MKTG_OUTCOME_SENT)
		is_int(stub.shared->connections, 1, "over one connection");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

int
main(void)
{
	Server		starttls = {.context = make_context()};
	Server		implicit = {.context = starttls.context, .implicit = true};
	Server		injecting = {.context = starttls.context, .inject = true};
	MktgTransport *transport = mktg_transport_create();

	try(transport, &starttls, "localhost", "starttls", true, 3, MKTG_OUTCOME_SENT, "STARTTLS");
	try(transport, &implicit, "localhost", "implicit", true, 3, MKTG_OUTCOME_SENT, "implicit TLS");
	try(transport, &starttls, "localhost", "starttls", false, 1, MKTG_OUTCOME_CONFIG,
		"STARTTLS, a certificate nobody vouches for");
	try(transport, &implicit, "localhost", "implicit", false, 1, MKTG_OUTCOME_CONFIG,
		"implicit TLS, a certificate nobody vouches for");
	try(transport, &starttls, "127.0.0.1", "starttls", true, 1, MKTG_OUTCOME_CONFIG,
		"STARTTLS, a certificate of another name");
	try(transport, &injecting, "localhost", "starttls", true, 1, MKTG_OUTCOME_RETRY,
		"replies slipped in before TLS");
	mktg_transport_destroy(transport);
	SSL_CTX_free(starttls.context);
	unlink(ca_file);
	return tap_done();
}
