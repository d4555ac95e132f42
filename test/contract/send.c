/*-------------------------------------------------------------------------
 *
 * send.c
 *		Sends messages through a driver, as the worker does, without a
 *		database: for tests against real servers, and for measuring.
 *
 *		send [options] DRIVER [NAME=VALUE ...]
 *
 *		-n COUNT		messages (1); the number takes the place of "%" in ids and addresses
 *		-c COUNT		requests open at once (max_connections)
 *		-i ID  -a ADDRESS  -f FROM  -N FROM_NAME  -R REPLY_TO
 *		-s SUBJECT  -t TEXT  -H HTML  -d DATA  -C CONTACT
		-A ATTEMPT
		-p				the number takes the place of "%" in subject, texts and data too
 *		-r				on_doubt is retry; hold otherwise
 *		-b				say only how fast it went
 *
 * Prints a line for each message: its id, outcome, provider's id, reason.
 *
 * IDENTIFICATION
 *		test/contract/send.c
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "provider/provider.h"

#define MAX_SETTINGS	32

static const char *const kinds[] = {
	"none", "sent", "retry", "permanent", "suppress", "config", "doubt", "again", "campaign"
};

typedef struct Message
{
	MktgDelivery delivery;
	char		id[64];
	char		address[300];
} Message;

static MktgDelivery model = {
	.tenant_id = 1, .campaign_id = 7, .contact_id = 1, .ref = "", .id = "m%", .attempt = 1,
	.channel = "email", .address = "to%@example.com", .hold = true, .now = 1735689600
};
static int	n_messages = 1;
static int	in_flight = 0;
static bool bench = false;
static bool personal = false;

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + now.tv_nsec / 1e9;
}

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 +
		(double) usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

/* Copies "from" with the number in place of "%". */
static void
fill(char *to, size_t size, const char *from, int number)
{
	const char *mark = strchr(from, '%');

	if (mark == NULL)
		snprintf(to, size, "%s", from);
	else
		snprintf(to, size, "%.*s%d%s", (int) (mark - from), from, number, mark + 1);
}

/* The text with the number in it, as long as the program runs. */
static void
personalize(const char **text, size_t *length, int number)
{
	char	   *own;

	if (*text == NULL)
		return;
	own = malloc(*length + 20);
	if (own == NULL)
		exit(3);
	fill(own, *length + 20, *text, number);
	*text = own;
	*length = strlen(own);
}

static void
print(const MktgDelivery *delivery)
{
	printf("%s %s %s [%s] retry_after=%lld%s%s\n", delivery->id, kinds[delivery->outcome.kind],
		   delivery->outcome.provider_id[0] ? delivery->outcome.provider_id : "-",
		   delivery->outcome.reason, (long long) delivery->outcome.retry_after_ms,
		   delivery->outcome.report ? " report=" : "",
		   delivery->outcome.report ? delivery->outcome.report : "");
}

/* Starts what may be open, waits, takes what has finished, until all is done. */
static void
run(MktgTransport *transport, MktgProvider *provider, Message *messages, int counts[])
{
	size_t		room = (size_t) provider->driver->max_batch;
	MktgDelivery **done = calloc(room, sizeof(MktgDelivery *));
	MktgDelivery **batch = calloc(room, sizeof(MktgDelivery *));
	int			started = 0;
	int			finished = 0;
	int			n;

	if (done == NULL || batch == NULL)
		exit(3);
	while (finished < n_messages)
	{
		struct pollfd poll_fd = {.fd = mktg_transport_fd(transport), .events = POLLIN};

		while (started < n_messages && provider->open_requests < in_flight)
		{
			for (n = 0; n < (int) room && started + n < n_messages; n++)
				batch[n] = &messages[started + n].delivery;
			if (provider->driver->fit != NULL)
				n = provider->driver->fit(provider, batch, n);
			started += n;
			if (!mktg_transport_start(transport, provider, batch, n))
				exit(3);
		}
		mktg_transport_drive(transport);
		while ((n = mktg_transport_finished(transport, done)) > 0)
		{
			finished += n;
			for (int i = 0; i < n; i++)
			{
				counts[done[i]->outcome.kind]++;
				if (!bench)
					print(done[i]);
			}
		}
		if (finished < n_messages &&
			(started == n_messages || provider->open_requests >= in_flight))
			(void) poll(&poll_fd, 1, (int) mktg_transport_timeout_ms(transport));
	}
	free(done);
	free(batch);
}

static const char *
read_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "n:c:i:a:f:N:R:s:t:H:d:C:A:rbp")) != -1)
		switch (option)
		{
			case 'n': n_messages = atoi(optarg); break;
			case 'c': in_flight = atoi(optarg); break;
			case 'i': model.id = optarg; break;
			case 'a': model.address = optarg; break;
			case 'f': model.from_address = optarg; break;
			case 'N': model.from_name = optarg; break;
			case 'R': model.reply_to = optarg; break;
			case 's': model.subject = optarg; model.subject_length = strlen(optarg); break;
			case 't': model.body = optarg; model.body_length = strlen(optarg); break;
			case 'H': model.html = optarg; model.html_length = strlen(optarg); break;
			case 'd': model.data = optarg; model.data_length = strlen(optarg); break;
			case 'C': model.contact = optarg; model.contact_length = strlen(optarg); break;
			case 'A': model.attempt = atoi(optarg); break;
			case 'r': model.hold = false; break;
			case 'p': personal = true; break;
			case 'b': bench = true; break;
			default: exit(2);
		}
	if (optind >= argc)
	{
		fprintf(stderr, "usage: send [options] DRIVER [NAME=VALUE ...]\n");
		exit(2);
	}
	return argv[optind++];
}

int
main(int argc, char **argv)
{
	const MktgDriver *driver = mktg_driver_find(read_options(argc, argv));
	MktgSetting settings[MAX_SETTINGS];
	int			n_settings = 0;
	char		why[200] = "unknown driver";
	MktgProvider *provider = NULL;
	MktgTransport *transport = mktg_transport_create();
	Message    *messages = calloc((size_t) n_messages, sizeof(Message));
	int			counts[9] = {0};
	double		start;
	double		cpu;

	signal(SIGPIPE, SIG_IGN);
	for (int i = optind; i < argc && n_settings < MAX_SETTINGS; i++)
	{
		char	   *equals = strchr(argv[i], '=');

		if (equals == NULL)
			return 2;
		*equals = '\0';
		settings[n_settings++] = (MktgSetting) {argv[i], equals + 1};
	}
	if (driver != NULL)
		provider = mktg_provider_open(driver, settings, n_settings, why, sizeof(why));
	if (provider == NULL || transport == NULL || messages == NULL)
	{
		fprintf(stderr, "send: %s\n", why);
		return 2;
	}
	if (in_flight == 0)
		in_flight = (int) provider->max_connections;
	for (int i = 0; i < n_messages; i++)
	{
		messages[i].delivery = model;
		fill(messages[i].id, sizeof(messages[i].id), model.id, i + 1);
		fill(messages[i].address, sizeof(messages[i].address), model.address, i + 1);
		messages[i].delivery.id = messages[i].id;
		messages[i].delivery.address = messages[i].address;
		if (personal)
		{
			MktgDelivery *delivery = &messages[i].delivery;

			personalize(&delivery->subject, &delivery->subject_length, i + 1);
			personalize(&delivery->body, &delivery->body_length, i + 1);
			personalize(&delivery->html, &delivery->html_length, i + 1);
			personalize(&delivery->data, &delivery->data_length, i + 1);
		}
	}

	start = seconds();
	cpu = cpu_seconds();
	run(transport, provider, messages, counts);
	if (bench)
	{
		start = seconds() - start;
		cpu = cpu_seconds() - cpu;
		printf("%d messages, %.0f/s, %.1f us CPU each;", n_messages,
			   n_messages / start, cpu / n_messages * 1e6);
		for (int kind = MKTG_OUTCOME_SENT; kind <= MKTG_OUTCOME_CAMPAIGN; kind++)
			if (counts[kind] > 0)
				printf(" %s %d", kinds[kind], counts[kind]);
		printf("\n");
	}
	mktg_transport_destroy(transport);
	mktg_provider_close(provider);
	free(messages);
	return 0;
}
