/*-------------------------------------------------------------------------
 *
 * stub.h
 *		Servers of a few lines for tests of the transport, each in a process of
 *		its own, and what drives the transport against them.
 *
 * IDENTIFICATION
 *		test/unit/stub.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_STUB_H
#define MKTG_STUB_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "provider/provider.h"
#include "tap.h"

/* what all processes of a stub see */
typedef struct StubShared
{
	int			connections;
	int			requests;		/* read to their end */
	int			ended;			/* connections whose end is on its way */
} StubShared;

typedef struct Stub
{
	pid_t		pid;
	int			port;
	StubShared *shared;
} Stub;

/* Serves one connection, until it returns. */
typedef void (*StubServe) (int fd, StubShared *shared, const void *argument);

static void
stub_abort(const char *what)
{
	perror(what);
	abort();
}

/* Reads a request to the end of its body into "text"; false at the end of the connection. */
__attribute__((unused))
static bool
stub_read_request(int fd, char *text, size_t size)
{
	size_t		length = 0;

	for (;;)
	{
		ssize_t		n = read(fd, text + length, size - 1 - length);
		char	   *end;
		char	   *header;

		if (n <= 0)
			return false;
		length += (size_t) n;
		text[length] = '\0';
		end = strstr(text, "\r\n\r\n");
		header = strcasestr(text, "\r\nContent-Length:");
		if (end != NULL && header != NULL &&
			length >= (size_t) (end + 4 - text) + (size_t) atol(header + 17))
			return true;
	}
}

__attribute__((unused))
static int
stub_listen(int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	length = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *) &address, &length) != 0)
		stub_abort("listen");
	*port = ntohs(address.sin_port);
	return fd;
}

/* A process that accepts, and one for each connection. */
__attribute__((unused))
static Stub
stub_start(StubServe serve, const void *argument)
{
	Stub		stub;
	int			fd = stub_listen(&stub.port);

	signal(SIGPIPE, SIG_IGN);
	stub.shared = mmap(NULL, sizeof(StubShared), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stub.shared == MAP_FAILED)
		stub_abort("mmap");
	fflush(stdout);
	stub.pid = fork();
	if (stub.pid < 0)
		stub_abort("fork");
	if (stub.pid == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGCHLD, SIG_IGN);
		for (;;)
		{
			int			connection = accept(fd, NULL, NULL);

			if (connection < 0)
				_exit(1);
			__atomic_add_fetch(&stub.shared->connections, 1, __ATOMIC_SEQ_CST);
			if (fork() == 0)
			{
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				close(fd);
				serve(connection, stub.shared, argument);
				/* whoever else still holds the descriptor */
				shutdown(connection, SHUT_WR);
				__atomic_add_fetch(&stub.shared->ended, 1, __ATOMIC_SEQ_CST);
				_exit(0);
			}
			close(connection);
		}
	}
	close(fd);
	return stub;
}

__attribute__((unused))
static void
stub_stop(Stub *stub)
{
	kill(stub->pid, SIGKILL);
	waitpid(stub->pid, NULL, 0);
	munmap(stub->shared, sizeof(StubShared));
}

__attribute__((unused))
static void
stub_say(int fd, const char *text)
{
	size_t		length = strlen(text);

	while (length > 0)
	{
		ssize_t		n = write(fd, text, length);

		if (n <= 0)
			_exit(0);
		text += n;
		length -= (size_t) n;
	}
}

/* Closes with a reset in place of a goodbye. */
__attribute__((unused))
static void
stub_reset(int fd)
{
	struct linger linger = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

__attribute__((unused))
static double
stub_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Drives until a request has finished; its deliveries are in done, their number comes back. */
__attribute__((unused))
static int
stub_wait(MktgTransport *transport, MktgDelivery **done)
{
	double		end = stub_seconds() + 20;
	int			n;

	for (;;)
	{
		struct pollfd poll_fd = {.fd = mktg_transport_fd(transport), .events = POLLIN};
		long		timeout;

		mktg_transport_drive(transport);
		n = mktg_transport_finished(transport, done);
		if (n > 0)
			return n;
		if (stub_seconds() > end)
			return 0;
		timeout = mktg_transport_timeout_ms(transport);
		(void) poll(&poll_fd, 1, timeout < 0 || timeout > 1000 ? 1000 : (int) timeout);
	}
}

/* Sends one delivery and waits for its outcome. */
__attribute__((unused))
static MktgOutcomeKind
stub_send(MktgTransport *transport, MktgProvider *provider, MktgDelivery *delivery)
{
	MktgDelivery *done[64];

	if (!mktg_transport_start(transport, provider, &delivery, 1) ||
		stub_wait(transport, done) != 1 || done[0] != delivery)
		return MKTG_OUTCOME_NONE;
	return delivery->outcome.kind;
}

/* Opens a provider; a test that gives wrong options is wrong itself. */
__attribute__((unused))
static MktgProvider *
stub_provider(const MktgDriver *driver, const MktgSetting *settings, int n)
{
	char		why[256];
	MktgProvider *provider = mktg_provider_open(driver, settings, n, why, sizeof(why));

	if (provider == NULL)
	{
		fprintf(stderr, "%s\n", why);
		abort();
	}
	return provider;
}

static const char *const stub_kinds[] = {
	"none", "sent", "retry", "permanent", "suppress", "config", "doubt", "again", "campaign"
};

__attribute__((unused))
static void
is_kind(const MktgDelivery *delivery, MktgOutcomeKind want, const char *name)
{
	if (!ok(delivery->outcome.kind == want, "%s: %s", name, stub_kinds[want]))
		printf("# got %s (%s)\n", stub_kinds[delivery->outcome.kind], delivery->outcome.reason);
}

#endif
