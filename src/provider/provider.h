/*-------------------------------------------------------------------------
 *
 * provider.h
 *		Drivers, and the transport that carries their requests.
 *
 * Plain C over libcurl and core/, without PostgreSQL headers, so that the
 * sending side can be tested, fuzzed and one day run outside the server.
 * options.c alone knows the server: it is the validator of the foreign-data
 * wrapper mktg_provider.
 *
 * A driver is one struct of functions.  It turns one or several messages into
 * one request (build), and one reply into one outcome for each of them
 * (classify).  Adding a driver is one file and one line in drivers.h.
 *
 * Nothing here raises an error by jumping; everything is said in outcomes.
 * Only the worker process, after its fork, may call transport functions.
 *
 * IDENTIFICATION
 *		src/provider/provider.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_H
#define MKTG_PROVIDER_H

#include <curl/curl.h>

#include "core/core.h"

/* What became of one attempt. */
typedef enum MktgOutcomeKind
{
	MKTG_OUTCOME_NONE,			/* not known yet */
	MKTG_OUTCOME_SENT,			/* the provider has taken it */
	MKTG_OUTCOME_RETRY,			/* surely not taken; may go again */
	MKTG_OUTCOME_PERMANENT,		/* this message will never go: failed */
	MKTG_OUTCOME_SUPPRESS,		/* nor will this address: bounced, and suppressed */
	MKTG_OUTCOME_CONFIG,		/* credentials, account: the sender stops, the message waits */
	MKTG_OUTCOME_DOUBT,			/* nobody knows: on_doubt decides */
	MKTG_OUTCOME_AGAIN,			/* refused with its request, for another message's fault that is
								 * dealt with: goes again at once, and this attempt does not count */
	MKTG_OUTCOME_CAMPAIGN		/* what the campaign's messages have in common, as a template: it
								 * pauses, the message waits, other campaigns of the sender go on */
} MktgOutcomeKind;

#define MKTG_REASON_SIZE	256
#define MKTG_PROVIDER_ID_SIZE 128

typedef struct MktgOutcome
{
	MktgOutcomeKind kind;
	int64_t		retry_after_ms; /* what the provider asked for; 0 = nothing */
	bool		perhaps_own;	/* CAMPAIGN: PERMANENT if others of the campaign went well */
	bool		own_wait;		/* that concerns this recipient alone: the sender goes on */
	char		provider_id[MKTG_PROVIDER_ID_SIZE];	/* empty = none */
	char		reason[MKTG_REASON_SIZE];	/* for people; no address, no secret */
	bool		opted_out;		/* SUPPRESS at the recipient's own wish: the address is not bad */
	int			keep_days;		/* in_app: how long the inbox keeps it; 0 = the sandbox has it */
	const char *report;			/* sandbox: "delivered" or "read" to be heard later, or NULL */
} MktgOutcome;

/* One message on its way.  Strings are the worker's and outlive the request. */
typedef struct MktgDelivery
{
	int64_t		tenant_id;
	int64_t		campaign_id;
	int64_t		contact_id;
	const char *ref;
	const char *id;				/* our message id, as mktg.send() returns it */
	int			attempt;		/* 1 for the first */
	const char *channel;
	const char *address;
	const char *from_address;	/* these three NULL where the sender has none */
	const char *from_name;
	const char *reply_to;
	const char *subject;		/* rendered; NULL where the template has none */
	size_t		subject_length;
	const char *html;
	size_t		html_length;
	const char *body;
	size_t		body_length;
	const char *data;			/* a JSON object, rendered; NULL unless the driver wants_data */
	size_t		data_length;
	const char *contact;		/* a JSON object of the contact's columns; NULL unless the driver wants_contact */
	size_t		contact_length;
	bool		hold;			/* on_doubt: never repeat what may have been taken */
	int64_t		now;			/* Unix seconds, mktg's clock */
	MktgOutcome outcome;
} MktgDelivery;

/* ---- options ---- */

typedef struct MktgSetting
{
	const char *name;
	const char *value;
} MktgSetting;

/* One option a driver knows.  check: NULL takes anything; else false with "why" filled. */
typedef struct MktgOptionSpec
{
	const char *name;
	bool		secret;			/* a credential: user mapping or credential file, never the server */
	bool		required;
	bool		(*check) (const char *value, char *why, size_t why_size);
} MktgOptionSpec;

/* ready-made checks */
extern bool mktg_check_boolean(const char *value, char *why, size_t why_size);
extern bool mktg_check_integer(const char *value, char *why, size_t why_size);	/* 0 to 2^31-1 */
extern bool mktg_check_rate(const char *value, char *why, size_t why_size); /* 0 to 1 */
extern bool mktg_check_networks(const char *value, char *why, size_t why_size);
extern bool mktg_check_path(const char *value, char *why, size_t why_size);	/* absolute */
extern bool mktg_check_host(const char *value, char *why, size_t why_size);
extern bool mktg_check_base_url(const char *value, char *why, size_t why_size);	/* of a provider's API */

/* value of an option, or "fallback" */
extern const char *mktg_setting(const MktgSetting *settings, int n, const char *name,
								const char *fallback);

/* copies the option's value where there is one; false if there was no memory */
extern bool mktg_copy_setting(const MktgSetting *settings, int n, const char *name, char **copy);

/* ---- drivers ---- */

typedef struct MktgDriver MktgDriver;
typedef struct MktgRequest MktgRequest;

/* An open provider: a driver with its options and credentials read. */
typedef struct MktgProvider
{
	const MktgDriver *driver;
	void	   *state;			/* the driver's own */
	int			open_requests;	/* started, and not yet come out as finished */
	MktgRequest *idle;			/* the transport's: handles to use again */
	/* options every network driver has */
	char	   *ca_file;		/* NULL: the system's */
	char	   *proxy;			/* NULL: none; the environment is never asked */
	long		timeout_ms;		/* whole request, default 30000 */
	long		connect_timeout_ms; /* default 10000 */
	long		max_connections;	/* requests open at once, default 64 */
	bool		http2;			/* as the driver says; its open() may change it */
	struct MktgAuthority *authority;	/* the transport's: of a driver that authorizes, else NULL */
} MktgProvider;

struct MktgDriver
{
	const char *name;
	const MktgOptionSpec *options;	/* ends with a NULL name; the common ones not among them */
	int			max_batch;		/* messages one request can carry */
	bool		in_process;		/* no request: deliver() is called instead */
	bool		wants_data;		/* MktgDelivery.data is to be filled */
	bool		wants_contact;	/* MktgDelivery.contact is to be filled */
	bool		mail;			/* carries e-mail: its senders need a from_address that is one */
	bool		blocking;		/* libcurl waits inside this protocol: threads.c carries it */
	bool		http2;			/* requests share connections by HTTP/2 where the server agrees */
	const char *protocols;		/* for libcurl, such as "https" or "smtp,smtps" */
	size_t		scratch_size;	/* bytes of request->scratch, zeroed when a handle is made */

	/* do the server's options go together?  NULL: whatever passed one by one does */
	bool		(*check) (const MktgSetting *settings, int n, char *why, size_t why_size);

	/* reads the options; false with "why" filled.  close() frees. */
	bool		(*open) (MktgProvider *provider, const MktgSetting *settings, int n,
						 char *why, size_t why_size);
	void		(*close) (MktgProvider *provider);

	/*
	 * Sets on a new request->easy what never changes for this provider, beside
	 * what the transport sets on every handle; NULL if there is nothing.
	 */
	bool		(*prepare) (MktgRequest *request);

	/*
	 * How many of these, from the first on, one request can carry: at least 1.
	 * Asked before a request is started; NULL if max_batch is all there is to it.
	 */
	int			(*fit) (const MktgProvider *provider, MktgDelivery *const *deliveries, int n);

	/*
	 * Sets URL, headers and body of request->easy for request->deliveries.
	 * A delivery that cannot be built gets its outcome here; false if none is
	 * left.  request->count and the order of the deliveries stay as they are.
	 *
	 * This, classify() and the three that authorize are called in the transport's
	 * thread, one after the other; all else by whoever started the request.  So
	 * what these change in provider->state is for them alone, until close().  Where the driver is
	 * blocking, several threads call them at once, and they change nothing there.
	 */
	bool		(*build) (MktgRequest *request);

	/* gives every delivery without outcome its own, from request->result and the reply */
	void		(*classify) (MktgRequest *request);

	/*
	 * A driver whose provider wants a token that has to be asked for has these
	 * three, else none.  The transport asks before anything is built, again
	 * shortly before the token's end, and once more where a reply says that it
	 * is not good; meanwhile it holds the provider's requests.
	 *
	 * authorize() is as build(), for a handle of its own with no message:
	 * deliveries[0] only takes the outcome.  authorized() reads the reply and
	 * gives the token's life in ms, or 0 with that outcome set, which then is
	 * everyone's who waits.  Nothing of theirs has left: it cannot be doubt.
	 */
	bool		(*authorize) (MktgRequest *request);
	int64_t		(*authorized) (MktgRequest *request);
	bool		(*unauthorized) (const MktgRequest *request);

	/* in_process: the outcome at once */
	void		(*deliver) (MktgProvider *provider, MktgDelivery *delivery);

	/*
	 * May this request reach this address?  Asked before a connection is opened
	 * and before one is used again; NULL allows every address.
	 */
	bool		(*allow) (const MktgRequest *request, const struct sockaddr *address);
};

extern const MktgDriver *mktg_driver_find(const char *name);
extern const MktgDriver *const mktg_drivers[];	/* ends with NULL */
extern const MktgOptionSpec mktg_common_options[];	/* of every driver with a network; ends with a NULL name */

/* an option of the driver, common ones included; NULL if it knows none of that name */
extern const MktgOptionSpec *mktg_driver_option(const MktgDriver *driver, const char *name);

/*
 * Are the server's options known, well formed, complete and in harmony?
 * "driver" and "credential_file" are passed over.
 */
extern bool mktg_provider_check(const MktgDriver *driver, const MktgSetting *settings, int n,
								char *why, size_t why_size);

/*
 * Reads and checks the settings; where a name comes twice the first counts.
 * NULL with "why" filled if an option or credential will not do; "why" never
 * holds a secret.
 */
extern MktgProvider *mktg_provider_open(const MktgDriver *driver, const MktgSetting *settings,
										int n, char *why, size_t why_size);

/* Is a request of its own or for its token under way, so that it must not be closed? */
extern bool mktg_provider_busy(const MktgProvider *provider);

/* closes the provider's idle connections too */
extern void mktg_provider_close(MktgProvider *provider);

/*
 * Reads NAME=VALUE lines (blank lines and # comments aside) of a credential
 * file: at most 64 KB, a regular file of this process's user that nobody else
 * may read.  Adds to settings[*n], which has room for "max"; names and values
 * are malloc'd.  False with "why" filled.
 */
extern bool mktg_credential_file(const char *path, MktgSetting *settings, int *n, int max,
								 char *why, size_t why_size);

/* ---- transport ---- */

#define MKTG_REPLY_LIMIT	65536

struct MktgRequest
{
	MktgProvider *provider;
	CURL	   *easy;
	MktgDelivery **deliveries;
	int			count;
	bool		hold;			/* one of the deliveries must never be repeated */
	void	   *scratch;		/* the driver's, as long as the handle lives */

	/* the driver's, freed or cleared by the transport when the request is done */
	MktgBuffer	body;			/* sent by the transport where the driver filled it */
	struct curl_slist *headers;
	struct curl_slist *recipients;
	curl_mime  *mime;

	/* the transport's */
	size_t		body_sent;		/* bytes libcurl has taken off us, if not off the machine */
	bool		begun;			/* a connection was there and the request began */
	uint64_t	connection;		/* HTTP/2: which one it is on; 0 = none */
	unsigned int stream;		/* its number there */
	bool		refused;		/* by the server before it looked at it */
	MktgBuffer	reply;			/* at most MKTG_REPLY_LIMIT; more ends the transfer */
	size_t		header_bytes;	/* of the reply; the same limit */
	bool		reply_too_long;
	bool		refused_address;	/* the address policy closed the door */
	char		retry_after[64];	/* header, empty = none */
	char		error[CURL_ERROR_SIZE];
	CURLcode	result;
	long		status;			/* HTTP status or last SMTP code; 0 = no reply */
	bool		may_have_arrived;	/* bytes of the request left this machine */
	curl_socket_t socket;		/* of a request in a thread, and whether it was hung up: threads.c */
	bool		hung_up;
	int64_t		deadline;		/* of a request in a thread, monotonic ms */
	struct MktgTransport *transport;
	bool		asks;			/* for the provider's token */
	bool		asked_again;	/* the token was refused once */
	unsigned int token;			/* which one it was built with */
	int			running_at;		/* place in the thread's list */
	struct MktgRequest *next;
};

typedef struct MktgTransport MktgTransport;

/*
 * Sends in threads of its own, which start when they are needed; all that
 * follows is for one thread to call.  NULL if there was no memory.  Calls
 * curl_global_init.  The process is to ignore SIGPIPE.  exit() without
 * mktg_transport_destroy() is safe: what is under way ends there.
 */
extern MktgTransport *mktg_transport_create(void);
extern void mktg_transport_destroy(MktgTransport *transport);	/* drops open requests */
extern int	mktg_transport_fd(const MktgTransport *transport);	/* readable when there is something to drive */
extern long mktg_transport_timeout_ms(const MktgTransport *transport);	/* 0: now; -1: when the descriptor says so */
extern void mktg_transport_drive(MktgTransport *transport);

/*
 * The descriptor is to be readable when this many deliveries have finished, or
 * none is under way any more; at first that is 1.
 */
extern void mktg_transport_await(MktgTransport *transport, int count);

/*
 * Hangs up on everything under way, for good: each request finishes as it
 * stands, with what is known of it.  Nothing can be started afterwards.
 */
extern void mktg_transport_abandon(MktgTransport *transport);
extern int	mktg_transport_open_requests(const MktgTransport *transport);

/*
 * Takes deliveries (at most the driver's max_batch) into one request, which
 * leaves with the next mktg_transport_drive().  The array is copied, the
 * deliveries are not; the driver's fit(), if it has one, has been asked.
 * Deliveries that could not even be built come out of mktg_transport_finished()
 * like any other; so do those of an in_process driver.  False if there was no
 * memory: every outcome is set to retry and nothing will come out.
 *
 * Keeping open_requests within max_connections is the caller's part: more are
 * taken, and wait.
 */
extern bool mktg_transport_start(MktgTransport *transport, MktgProvider *provider,
								 MktgDelivery **deliveries, int count);

/*
 * Deliveries of the next finished request, every one with its outcome, into
 * done[0 .. driver's max_batch-1]; 0 if none has finished.
 */
extern int	mktg_transport_finished(MktgTransport *transport, MktgDelivery **done);

/* sent, retry, config, doubt or permanent as the HTTP status or libcurl's code says; drivers refine it */
extern void mktg_classify_http(const MktgRequest *request, MktgOutcome *outcome);
extern bool mktg_request_never_sent(const MktgRequest *request);

/* the reply's JSON, json_object_put() it; NULL if it is none */
struct json_object;
extern struct json_object *mktg_reply_json(const MktgRequest *request);

/* the same of a message's data; NULL also where it is nested more than 32 deep */
extern struct json_object *mktg_data_json(const MktgDelivery *delivery);

/* a member's text or whole number; the fallback if there is none of that name and type */
extern const char *mktg_member_text(struct json_object *object, const char *name, const char *fallback);
extern int64_t mktg_member_number(struct json_object *object, const char *name, int64_t fallback);

/* a header of the reply, valid as long as the request is; NULL if there is none */
extern const char *mktg_reply_header(const MktgRequest *request, const char *name);

/*
 * Sets kind and reason.  Of the reason only printable ASCII is kept, and what
 * looks like an e-mail address, a long number or a secret is blanked out:
 * replies quote the recipient, and logs and tables must not.
 */
extern void mktg_outcome_set(MktgOutcome *outcome, MktgOutcomeKind kind,
							 const char *format, ...) __attribute__((format(printf, 3, 4)));

/* the same outcome for every delivery that has none yet */
extern void mktg_outcome_all(const MktgRequest *request, const MktgOutcome *outcome);

/* the reply as text for a reason: its first bytes, or "no reply text" */
extern const char *mktg_reply_text(const MktgRequest *request, char *out, size_t size);

#endif
