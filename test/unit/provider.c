/*-------------------------------------------------------------------------
 *
 * provider.c
 *		Unit tests of src/provider: options, credential files, the sandbox,
 *		what webhook requests look like, and reasons.
 *
 * IDENTIFICATION
 *		test/unit/provider.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "provider/provider.h"
#include "provider/transport.h"
#include "tap.h"

#define SECRET		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_2	"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))

static const char *const kinds[] = {
	"none", "sent", "retry", "permanent", "suppress", "config", "doubt", "again", "campaign"
};

/* ---- options ---- */

typedef bool (*Check) (const char *value, char *why, size_t why_size);

static void
test_check(const char *name, Check check, const char *good, const char *bad)
{
	char		why[200];
	char		copy[1000];
	char	   *next = NULL;

	snprintf(copy, sizeof(copy), "%s", good);
	for (char *value = strtok_r(copy, " ", &next); value != NULL; value = strtok_r(NULL, " ", &next))
		ok(check(value, why, sizeof(why)), "%s takes %s", name, value);
	snprintf(copy, sizeof(copy), "%s", bad);
	for (char *value = strtok_r(copy, " ", &next); value != NULL; value = strtok_r(NULL, " ", &next))
	{
		why[0] = '\0';
		ok(!check(value, why, sizeof(why)) && strncmp(why, "must be ", 8) == 0,
		   "%s refuses %s", name, value);
	}
	ok(!check("", why, sizeof(why)), "%s refuses an empty text", name);
}

static void
test_checks(void)
{
	char		why[200];

	test_check("boolean", mktg_check_boolean, "true false", "yes 1 TRUE");
	test_check("integer", mktg_check_integer, "0 1 2147483647 007",
			   "-1 1.5 2147483648 99999999999999999999 1e3 0x10 1s");
	test_check("rate", mktg_check_rate, "0 1 0.5 .5 1. 1.0 0.000001",
			   "1.1 -0.1 nan inf 1e-3 0x1p-3 . 0,5 1.00001");
	test_check("networks", mktg_check_networks, "10.0.0.0/8 127.0.0.1,::1 fd00::/8",
			   "localhost 10.0.0.0/33 10.0.0.1/8 10.0.0.0/8,");
	test_check("path", mktg_check_path, "/etc/x /", "etc/x ./x ~/x");
	ok(!mktg_check_path("/a\nb", why, sizeof(why)), "path refuses a line break");
	test_check("host", mktg_check_host, "localhost mail.example.com 127.0.0.1 ::1 [::1] a_b",
			   "mail/x a@b a?b a#b %61");
	ok(!mktg_check_host("a b", why, sizeof(why)), "host refuses a blank");
	test_check("base_url", mktg_check_base_url,
			   "https://api.example.com https://x:8443/eu http://127.0.0.1:80/x http://[::1]",
			   "http://api.example.com https://u@x https://u:p@x https://x/ https://x?a https://x#a"
			   " ftp://x x http://127.0.0.1.example.com http://127.1.example");
}

static void
test_lookup(void)
{
	MktgSetting settings[] = {{"a", "1"}, {"b", "2"}, {"a", "3"}};

	is_string(mktg_setting(settings, 3, "a", "x"), "1", "the first of a name counts");
	is_string(mktg_setting(settings, 3, "c", "x"), "x", "a fallback");
	ok(mktg_driver_find("smtp") != NULL && mktg_driver_find("none") == NULL, "drivers by name");
	ok(mktg_driver_option(mktg_driver_find("smtp"), "timeout_ms") != NULL, "common options of smtp");
	ok(mktg_driver_option(mktg_driver_find("sandbox"), "timeout_ms") == NULL, "none of the sandbox");
}

/* Opens with "a=b c=d" and compares what is said, or what comes of it. */
static MktgProvider *
open_with(const char *driver, const char *text, char *why)
{
	static char copy[1000];
	MktgSetting settings[16];
	int			n = 0;
	char	   *next = NULL;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &next); word != NULL; word = strtok_r(NULL, " ", &next))
	{
		char	   *equals = strchr(word, '=');

		*equals = '\0';
		settings[n++] = (MktgSetting) {word, equals + 1};
	}
	why[0] = '\0';
	return mktg_provider_open(mktg_driver_find(driver), settings, n, why, 200);
}

static void
refuses(const char *driver, const char *text, const char *want)
{
	char		why[200];
	MktgProvider *provider = open_with(driver, text, why);

	if (!ok(provider == NULL && strcmp(why, want) == 0, "%s %s", driver, text))
		printf("# said \"%s\"\n", why);
	mktg_provider_close(provider);
}

static void
test_open(void)
{
	char		why[200];
	MktgProvider *provider;

	refuses("sandbox", "rate=1", "driver \"sandbox\" knows no option \"rate\"");
	refuses("sandbox", "timeout_ms=1", "driver \"sandbox\" knows no option \"timeout_ms\"");
	refuses("sandbox", "failed_rate=2", "option \"failed_rate\" must be a number from 0 to 1");
	refuses("sandbox", "failed_rate=0.5 bounced_rate=0.4 doubt_rate=0.2",
			"options \"failed_rate\", \"bounced_rate\" and \"doubt_rate\" add up to more than 1");
	refuses("smtp", "", "option \"host\" is missing");
	refuses("smtp", "host=x tls=maybe", "option \"tls\" must be starttls, implicit or none");
	refuses("smtp", "host=x port=0", "option \"port\" must be a port from 1 to 65535");
	refuses("smtp", "host=x port=65536", "option \"port\" must be a port from 1 to 65535");
	refuses("smtp", "host=x user=me", "credential \"password\" is missing");
	refuses("smtp", "host=x password=me", "credential \"user\" is missing");
	refuses("smtp", "host=x timeout_ms=0", "option \"timeout_ms\" must be a whole number from 1 to 2147483647");
	refuses("smtp", "host=x proxy=http://u:p@h", "option \"proxy\" must be a proxy's URL without user and password");
	refuses("smtp", "host=x ca_file=x.pem", "option \"ca_file\" must be an absolute path");
	refuses("webhook", "", "credential \"secret\" is missing");
	refuses("webhook", "secret=whsec_tooshort",
			"option \"secret\" must be whsec_ and the base64 of 24 to 64 bytes; up to 4 with commas between them");
	refuses("webhook", "secret=" SECRET "," SECRET "," SECRET "," SECRET "," SECRET,
			"option \"secret\" must be whsec_ and the base64 of 24 to 64 bytes; up to 4 with commas between them");
	refuses("webhook", "secret=" SECRET " url=ftp://x/", "option \"url\" must be an https URL without user and password");
	refuses("webhook", "secret=" SECRET " url=https://u:p@x/", "option \"url\" must be an https URL without user and password");
	refuses("webhook", "secret=" SECRET " url=http://x/",
			"option \"url\" is plain http, which neither \"allow_http\" nor \"allow_networks\" allows");
	refuses("webhook", "secret=" SECRET " http_version=3", "option \"http_version\" must be 1.1 or 2");

	provider = open_with("smtp", "host=x driver=smtp credential_file=/x", why);
	ok(provider != NULL && provider->timeout_ms == 120000 && provider->max_connections == 10 &&
	   provider->connect_timeout_ms == 10000, "defaults of smtp; \"driver\" and \"credential_file\" pass");
	mktg_provider_close(provider);
	provider = open_with("smtp", "host=::1 timeout_ms=5 connect_timeout_ms=6 max_connections=7"
						 " ca_file=/ca proxy=http://p:1", why);
	ok(provider != NULL && provider->timeout_ms == 5 && provider->connect_timeout_ms == 6 &&
	   provider->max_connections == 7 && strcmp(provider->ca_file, "/ca") == 0 &&
	   strcmp(provider->proxy, "http://p:1") == 0, "common options");
	mktg_provider_close(provider);
	provider = open_with("webhook", "secret=" SECRET " url=http://x/ allow_http=true", why);
	ok(provider != NULL && provider->timeout_ms == 30000 && provider->max_connections == 64,
	   "defaults of webhook");
	mktg_provider_close(provider);
	mktg_provider_close(NULL);
}

/* ---- credential files ---- */

static char directory[] = "/tmp/mktg_unit_XXXXXX";

static const char *
write_file(const char *name, const char *text, size_t length, mode_t mode)
{
	static char path[200];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	fwrite(text, 1, length, file);
	fclose(file);
	chmod(path, mode);
	return path;
}

static void
free_settings(MktgSetting *settings, int n)
{
	for (int i = 0; i < n; i++)
	{
		free((char *) settings[i].name);
		free((char *) settings[i].value);
	}
}

static void
file_refused(const char *path, int max, const char *want)
{
	MktgSetting settings[10];
	int			n = 0;
	char		why[200] = "";

	if (!ok(!mktg_credential_file(path, settings, &n, max, why, sizeof(why)) &&
			strcmp(why, want) == 0, "a file that %s", want))
		printf("# said \"%s\"\n", why);
	free_settings(settings, n);
	unlink(path);
}

static void
test_credential_file(void)
{
	static const char good[] = "# a comment\n\n  \t\nuser = me\r\npassword= a=b #c \n\tsecret=x";
	MktgSetting settings[10] = {{"before", "1"}};
	int			n = 1;
	char		why[200];
	char	   *big = malloc(65537);
	char		path[200];

	ok(mktg_credential_file(write_file("good", good, strlen(good), 0600), settings, &n, 10,
							why, sizeof(why)), "a good file");
	is_int(n, 4, "three settings more");
	is_string(settings[1].name, "user", "blanks around a name go");
	is_string(settings[1].value, " me", "those of a value stay, CR goes");
	is_string(settings[2].value, " a=b #c ", "all of the value");
	is_string(settings[3].value, "x", "a last line without an end");
	free_settings(settings + 1, n - 1);

	file_refused(write_file("f", "a=b\n", 4, 0640), 10, "may be read by others (mode 640): make it 0600");
	file_refused(write_file("f", "a=b\n", 4, 0604), 10, "may be read by others (mode 604): make it 0600");
	file_refused(write_file("f", "a=b\nsecret", 10, 0600), 10, "has no NAME=VALUE in line 2");
	file_refused(write_file("f", "=b\n", 3, 0600), 10, "has no NAME=VALUE in line 1");
	file_refused(write_file("f", "a=b\nc=d\n", 8, 0600), 1, "holds too many lines");
	file_refused(write_file("f", "a=b\0c\n", 6, 0600), 10, "holds a NUL byte");
	memset(big, '#', 65537);
	file_refused(write_file("f", big, 65537, 0600), 10, "is larger than 64 KB");
	file_refused("/no/such/file", 10, "cannot be opened: No such file or directory");
	file_refused("relative", 10, "must be an absolute path");

	snprintf(path, sizeof(path), "%s/dir", directory);
	mkdir(path, 0700);
	file_refused(path, 10, "is not a regular file");
	rmdir(path);
	snprintf(path, sizeof(path), "%s/fifo", directory);
	mkfifo(path, 0600);
	file_refused(path, 10, "is not a regular file");

	n = 0;
	ok(mktg_credential_file(write_file("f", big, 65536, 0600), settings, &n, 10, why, sizeof(why)),
	   "a file of 64 KB");
	free(big);
	if (geteuid() == 0)
	{
		const char *foreign = write_file("f", "a=b\n", 4, 0600);

		if (chown(foreign, 65534, (gid_t) -1) == 0)
			file_refused(foreign, 10, "does not belong to the user the server runs as");
	}
	else
		skip("only root can give a file away");
	write_file("good", "", 0, 0600);
}

/* ---- the sandbox ---- */

static void
deliver(MktgProvider *provider, int number, int attempt, MktgDelivery *delivery)
{
	static char id[40];

	snprintf(id, sizeof(id), "1.7.%d", number);
	*delivery = (MktgDelivery) {.id = id, .attempt = attempt};
	provider->driver->deliver(provider, delivery);
}

static bool
near(int count, double share)
{
	return count > 10000 * share - 300 && count < 10000 * share + 300;
}

static void
test_sandbox(void)
{
	char		why[200];
	MktgProvider *provider = open_with("sandbox", "seed=3 failed_rate=0.05 bounced_rate=0.1 doubt_rate=0.02"
									   " retry_rate=0.2 delivered_rate=0.9 read_rate=0.5", why);
	MktgProvider *plain = open_with("sandbox", "", why);
	MktgProvider *other = open_with("sandbox", "seed=4 failed_rate=0.5", why);
	MktgProvider *again = open_with("sandbox", "seed=4 failed_rate=0.5", why);
	int			counts[7] = {0};
	int			delivered = 0;
	int			read = 0;
	int			sent = 0;
	int			ended = 0;
	int			same = 0;
	MktgDelivery one;
	MktgDelivery two;

	for (int i = 0; i < 10000; i++)
	{
		int			attempt = 1;

		deliver(provider, i, attempt, &one);
		counts[one.outcome.kind]++;
		while (one.outcome.kind == MKTG_OUTCOME_RETRY && attempt < 20)
			deliver(provider, i, ++attempt, &one);
		ended += one.outcome.kind != MKTG_OUTCOME_RETRY;
		delivered += one.outcome.report != NULL;
		read += one.outcome.report != NULL && strcmp(one.outcome.report, "read") == 0;

		deliver(plain, i, 1, &one);
		sent += one.outcome.kind == MKTG_OUTCOME_SENT && strcmp(one.outcome.report, "delivered") == 0;
		deliver(other, i, 1, &one);
		deliver(again, i, 1, &two);
		same += one.outcome.kind == two.outcome.kind;
	}
	ok(near(counts[MKTG_OUTCOME_RETRY], 0.2), "a fifth is refused for now: %d", counts[MKTG_OUTCOME_RETRY]);
	ok(near(counts[MKTG_OUTCOME_PERMANENT], 0.04), "of the rest 5 %% fail: %d", counts[MKTG_OUTCOME_PERMANENT]);
	ok(near(counts[MKTG_OUTCOME_SUPPRESS], 0.08), "10 %% bounce: %d", counts[MKTG_OUTCOME_SUPPRESS]);
	ok(near(counts[MKTG_OUTCOME_DOUBT], 0.016), "2 %% are in doubt: %d", counts[MKTG_OUTCOME_DOUBT]);
	is_int(ended, 10000, "a retry ends somewhere");
	ok(near(delivered, 0.83 * 0.9), "90 %% of what was sent is delivered: %d", delivered);
	ok(near(read, 0.83 * 0.45), "half of that is read: %d", read);
	is_int(sent, 10000, "without options everything is delivered");
	is_int(same, 10000, "the same seed gives the same outcomes");
	mktg_provider_close(provider);
	mktg_provider_close(plain);
	mktg_provider_close(other);
	mktg_provider_close(again);
}

/* ---- reasons and errors ---- */

static void
test_reasons(void)
{
	static const struct
	{
		const char *text;
		const char *want;
	}			cases[] = {
		{"550 5.1.1 <bob@example.com>: unknown", "550 5.1.1 <[...]>: unknown"},
		{"no bob@example.com, really", "no [...], really"},
		{"call +16505551234 or 650-555-1234", "call [...] or [...]"},
		{"HTTP 503 after 30001 ms", "HTTP 503 after 30001 ms"},
		{"key sk_live_4eC39HqLyjWDarjtT1zdp7dc is bad", "key [...] is bad"},
		{"a perfectly-long-hyphenated-phrase-of-words", "a perfectly-long-hyphenated-phrase-of-words"},
		{"two\r\nlines\tand \x01 more", "two  lines and ? more"},
		{"caf\xC3\xA9", "caf??"},
		{"", ""},
	};
	MktgOutcome outcome;
	char		text[3000];

	for (int i = 0; i < LENGTH(cases); i++)
	{
		mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "%s", cases[i].text);
		is_string(outcome.reason, cases[i].want, cases[i].want);
	}
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "%s", text);
	is_int((int64_t) strlen(outcome.reason), MKTG_REASON_SIZE - 1, "a long reason is cut");
}

static void
test_errors(void)
{
	static const struct
	{
		CURLcode	result;
		bool		sent;
		bool		refused;
		MktgOutcomeKind want;
	}			cases[] = {
		{CURLE_COULDNT_CONNECT, false, false, MKTG_OUTCOME_RETRY},
		{CURLE_COULDNT_CONNECT, false, true, MKTG_OUTCOME_PERMANENT},
		{CURLE_COULDNT_RESOLVE_HOST, false, false, MKTG_OUTCOME_RETRY},
		{CURLE_OPERATION_TIMEDOUT, false, false, MKTG_OUTCOME_RETRY},
		{CURLE_OPERATION_TIMEDOUT, true, false, MKTG_OUTCOME_DOUBT},
		{CURLE_SSL_CONNECT_ERROR, false, false, MKTG_OUTCOME_RETRY},
		{CURLE_PEER_FAILED_VERIFICATION, false, false, MKTG_OUTCOME_CONFIG},
		{CURLE_SSL_CACERT_BADFILE, false, false, MKTG_OUTCOME_CONFIG},
		{CURLE_COULDNT_RESOLVE_PROXY, false, false, MKTG_OUTCOME_CONFIG},
		{CURLE_URL_MALFORMAT, false, false, MKTG_OUTCOME_PERMANENT},
		{CURLE_UNSUPPORTED_PROTOCOL, false, false, MKTG_OUTCOME_PERMANENT},
		{CURLE_UNSUPPORTED_PROTOCOL, true, false, MKTG_OUTCOME_DOUBT},	/* a reply that is no HTTP */
		{CURLE_SEND_FAIL_REWIND, true, false, MKTG_OUTCOME_DOUBT},
		{CURLE_SEND_ERROR, true, false, MKTG_OUTCOME_DOUBT},
		{CURLE_RECV_ERROR, true, false, MKTG_OUTCOME_DOUBT},
		{CURLE_GOT_NOTHING, true, false, MKTG_OUTCOME_DOUBT},
		{CURLE_OK, true, false, MKTG_OUTCOME_DOUBT},	/* no status: no reply */
	};

	for (int i = 0; i < LENGTH(cases); i++)
	{
		MktgRequest request = {.result = cases[i].result, .may_have_arrived = cases[i].sent,
			.refused_address = cases[i].refused};
		MktgOutcome outcome = {0};

		mktg_classify_http(&request, &outcome);
		if (!ok(outcome.kind == cases[i].want, "error %d, %s: %s", cases[i].result,
				cases[i].sent ? "sent" : "not sent", kinds[cases[i].want]))
			printf("# got %s\n", kinds[outcome.kind]);
		ok(mktg_request_never_sent(&request) == !cases[i].sent, "never sent or not");
	}
}

/* ---- webhook requests ---- */

static MktgDelivery
webhook_delivery(void)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = -3, .ref = "", .id = "1.7.3", .attempt = 1,
		.channel = "webhook", .address = "https://hooks.example.com/a", .subject = "S\"\n",
		.subject_length = 3, .body = "b\xC3\xA9", .body_length = 3, .now = 1735689600
	};

	return delivery;
}

static MktgOutcomeKind
classified(const char *settings, long status, CURLcode result)
{
	char		why[200];
	MktgProvider *provider = open_with("webhook", settings, why);
	MktgDelivery delivery = webhook_delivery();
	MktgDelivery *pointer = &delivery;
	MktgRequest request = {.provider = provider, .deliveries = &pointer, .count = 1,
		.status = status, .result = result};

	provider->driver->classify(&request);
	mktg_provider_close(provider);
	return delivery.outcome.kind;
}

/* What an endpoint says that an address names never stops the sender. */
static void
test_webhook_classify(void)
{
	const char *fixed = "secret=" SECRET " url=https://x/";
	const char *address = "secret=" SECRET;

	is_int(classified(fixed, 410, CURLE_OK), MKTG_OUTCOME_CONFIG, "410 of the server's url");
	is_int(classified(address, 410, CURLE_OK), MKTG_OUTCOME_SUPPRESS, "410 of an address");
	is_int(classified(fixed, 401, CURLE_OK), MKTG_OUTCOME_CONFIG, "401 of the server's url");
	is_int(classified(address, 401, CURLE_OK), MKTG_OUTCOME_PERMANENT, "401 of an address");
	is_int(classified(address, 403, CURLE_OK), MKTG_OUTCOME_PERMANENT, "403 of an address");
	is_int(classified(address, 407, CURLE_OK), MKTG_OUTCOME_CONFIG, "407 of our own proxy");
	is_int(classified(fixed, 404, CURLE_OK), MKTG_OUTCOME_PERMANENT, "404");
	is_int(classified(fixed, 0, CURLE_PEER_FAILED_VERIFICATION), MKTG_OUTCOME_CONFIG,
		   "a bad certificate of the server's url");
	is_int(classified(address, 0, CURLE_PEER_FAILED_VERIFICATION), MKTG_OUTCOME_RETRY,
		   "a bad certificate of an address");
	is_int(classified(address, 0, CURLE_SSL_CACERT_BADFILE), MKTG_OUTCOME_CONFIG, "a bad ca_file");
	is_int(classified(address, 0, CURLE_URL_MALFORMAT), MKTG_OUTCOME_PERMANENT, "a bad URL");
}

/* Value of a header line the driver has set, or "". */
static const char *
header(const MktgRequest *request, const char *name)
{
	/* the list is the driver's: its first node is the first thing in its scratch */
	for (const struct curl_slist *line = request->scratch; line != NULL; line = line->next)
		if (strncmp(line->data, name, strlen(name)) == 0 && line->data[strlen(name)] == ':')
			return line->data + strlen(name) + 2;
	return "";
}

static void
test_webhook_build(void)
{
	static const char want[] = "{\"id\":\"1.7.3\",\"tenant\":1,\"campaign\":7,\"contact\":-3,"
		"\"channel\":\"webhook\",\"to\":\"https://hooks.example.com/a\",\"subject\":\"S\\\"\\n\","
		"\"body\":\"b\xC3\xA9\",\"html\":null,\"sent_at\":1735689600}";
	char		why[200];
	MktgProvider *provider = open_with("webhook", "secret=" SECRET "," SECRET_2, why);
	MktgDelivery delivery = webhook_delivery();
	MktgDelivery *pointer = &delivery;
	MktgRequest *request = mktg_request_get(NULL, provider, &pointer, 1);
	unsigned char key[64];
	char		signature[64];
	char		signatures[200];
	long long	stamp;
	int			length;

	ok(provider->driver->build(request), "a request is built");
	is_bytes(request->body.data, request->body.length, want, strlen(want), "its body");
	is_string(header(request, "Content-Type"), "application/json", "Content-Type");
	is_string(header(request, "webhook-id"), "1.7.3", "webhook-id");
	stamp = atoll(header(request, "webhook-timestamp"));
	ok(llabs(stamp - (long long) time(NULL)) <= 2, "webhook-timestamp is the real time");

	length = mktg_webhook_secret(SECRET, key);
	mktg_webhook_sign(key, (size_t) length, "1.7.3", stamp, want, strlen(want), signature);
	snprintf(signatures, sizeof(signatures), "%s ", signature);
	length = mktg_webhook_secret(SECRET_2, key);
	mktg_webhook_sign(key, (size_t) length, "1.7.3", stamp, want, strlen(want), signature);
	strcat(signatures, signature);
	is_string(header(request, "webhook-signature"), signatures, "a signature for each secret");

	mktg_request_put(request);
	request = mktg_request_get(NULL, provider, &pointer, 1);
	ok(provider->driver->build(request) && request->body.length == strlen(want),
	   "the same handle builds it again");
	mktg_request_put(request);
	mktg_provider_close(provider);
}

static bool
allowed(MktgProvider *provider, bool plain, const char *address)
{
	MktgDelivery delivery = webhook_delivery();
	MktgDelivery *pointer = &delivery;
	MktgRequest *request;
	struct sockaddr_in in = {.sin_family = AF_INET};
	bool		result;

	if (plain)
		delivery.address = "http://hooks.example.com/a";
	request = mktg_request_get(NULL, provider, &pointer, 1);
	inet_pton(AF_INET, address, &in.sin_addr);
	result = provider->driver->build(request) &&
		provider->driver->allow(request, (struct sockaddr *) &in);
	mktg_request_put(request);
	return result;
}

static void
test_webhook_allow(void)
{
	char		why[200];
	MktgProvider *strict = open_with("webhook", "secret=" SECRET, why);
	MktgProvider *http = open_with("webhook", "secret=" SECRET " allow_http=true", why);
	MktgProvider *lan = open_with("webhook", "secret=" SECRET " allow_networks=10.1.0.0/16,8.8.8.8", why);

	ok(allowed(strict, false, "8.8.8.8"), "https to a public address");
	ok(!allowed(strict, false, "10.1.2.3"), "https to a private one");
	ok(!allowed(strict, true, "8.8.8.8"), "http to a public one");
	ok(allowed(http, true, "8.8.8.8"), "http to a public one with allow_http");
	ok(!allowed(http, true, "127.0.0.1"), "but not to loopback");
	ok(allowed(lan, false, "10.1.2.3"), "https to a network of allow_networks");
	ok(allowed(lan, true, "10.1.2.3"), "and http");
	ok(!allowed(lan, true, "10.2.2.3"), "to no other private one");
	ok(!allowed(lan, true, "8.8.4.4"), "no http to another public one");
	ok(allowed(lan, true, "8.8.8.8"), "http to a public one on the list");
	mktg_provider_close(strict);
	mktg_provider_close(http);
	mktg_provider_close(lan);
}

int
main(void)
{
	char		command[100];

	if (mkdtemp(directory) == NULL)
		abort();
	test_checks();
	test_lookup();
	test_open();
	test_credential_file();
	test_sandbox();
	test_reasons();
	test_errors();
	test_webhook_classify();
	test_webhook_build();
	test_webhook_allow();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) != 0 || tap_done();
}
