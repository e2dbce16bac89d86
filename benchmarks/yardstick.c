/* yardstick: how fast can this machine open, hold and feed connections when the program itself does next to nothing?
 *
 * A bare epoll server and client, both ends on loopback, making the system calls of the Python engine in the same
 * order. The engine's rates are reported as ratios to this program's.
 *
 *   cc -O2 -o yardstick yardstick.c
 *   ./yardstick --connections N [--each 62000] [--first-port 1024] [--base-ip 127.0.1.1] [--in-flight 1024]
 *               [--rounds R] [--hold SECONDS] [--capacity FILES_PER_WORKER]
 *
 * What it does: forks as many workers for each end as the file limit and the cores ask for; opens N connections, each
 * from its own (address, port), each with one request whose chunked answer never ends; R times writes one chunk to
 * every connection and waits until all have arrived; holds; closes. One JSON line on stdout at the end.
 * Exit code 0, or 4 if a connection or a chunk is missing, 1 if it can't start, 2 for wrong usage.
 *
 * What it checks: status and welcome with the right id, of every connection; the bytes of every round. It gives up
 * when opening has stood still for 30 s, and on a round after 120 s.
 *
 * What it costs: 5 bytes of user memory a connection at the client, 1 at the server; the kernel takes 6 to 10 KB.
 *
 * What the clocks cover: opening, from the first turn given (all workers forked and waiting) to the last welcome read;
 * a round, from the first turn given to the last byte read. Forking and closing are outside.
 *
 * Compare within minutes, alternating: one program's runs differ by 10 to 20 %, and on a virtual machine that returns
 * free memory to its host the first touch of every page is paid again.
 *
 * What it omits, on purpose: HTTP beyond these very bytes; heads that come in pieces (they count as failed; loopback
 * does not cut 200 bytes); errors by name; latency; a full socket buffer (counts as not sent).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000L
enum {
    BATCH = 256,            /* connections taken through one stage at a time; 16 or 64: the same within noise */
    EVENTS = 1024,          /* events per epoll_wait */
    OWN_FILES = 64,         /* descriptors kept back for what is not a connection */
    CHUNK_BODY = 25,        /* bytes of text in a round's chunk */
    CHUNK = CHUNK_BODY + 6, /* on the wire: "19\r\n" before, "\r\n" after */
    OPENING_STALLED = 30,   /* seconds */
    ROUND_LIMIT = 120
};
static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";

static long connections, each = 62000, first_port = 1024, in_flight_limit = 1024, rounds, hold, capacity;
static in_addr_t base_ip; /* host byte order */
static struct sockaddr_in server_address;
static int ramp_over; /* an eventfd in every server's epoll, readable once opening has ended */
static int cores;     /* also: how many workers hold a turn at a time */

/* What a worker tells the parent: a cache line each, written by its owner only. */
enum figure { OPENED, FAILED, BYTES, SENT, FIGURES };
struct worker {
    _Alignas(64) atomic_int turn; /* a futex: the last turn given to this worker */
    atomic_long figures[FIGURES];
    atomic_long last; /* when it last read something, ns */
};

/* A turn that goes from worker to worker. */
struct relay {
    _Alignas(64) atomic_int next; /* the worker that gets it next; end + cores once all have passed it on */
    int turn, end;
};

static struct shared {
    struct relay listening, opening, sending;
    _Alignas(64) atomic_long in_flight;
    atomic_bool ramped;
    struct worker workers[]; /* the servers, then the clients */
} *shared;
static int servers, clients;

static char buffer[65536];
static struct epoll_event events[EVENTS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void sleep_ns(long ns)
{
    nanosleep(&(struct timespec){ns / SECOND, ns % SECOND}, NULL);
}

static int watch(int epoll, int fd, uint32_t wanted)
{
    struct epoll_event event = {.events = wanted, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void *column(size_t size)
{
    void *memory = calloc((size_t)capacity + OWN_FILES, size);
    if (!memory)
        die("calloc");
    return memory;
}

static void add(struct worker *me, enum figure figure, long count)
{
    atomic_fetch_add_explicit(&me->figures[figure], count, memory_order_relaxed);
}

/* ---- turns ---- */

static void wait_turn(struct worker *me, int turn)
{
    for (int seen; (seen = atomic_load(&me->turn)) < turn;)
        syscall(SYS_futex, &me->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void pass_on(struct relay *relay)
{
    int next = atomic_fetch_add(&relay->next, 1);
    if (next >= relay->end)
        return;
    atomic_store(&shared->workers[next].turn, relay->turn);
    syscall(SYS_futex, &shared->workers[next].turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* As many workers as cores hold a turn. One client opening: 20 % slower. All servers sending at once: 104,000 chunks a
 * second against 117,000 at a million (medians of 3 rounds, ranges overlap), no difference at 190,000. */
static void begin(struct relay *relay, int turn, int first, int end)
{
    relay->turn = turn;
    relay->end = end;
    atomic_store(&relay->next, first);
    for (int i = 0; i < cores; i++)
        pass_on(relay);
}

static bool all_had(struct relay *relay)
{
    return atomic_load(&relay->next) == relay->end + cores;
}

/* ---- the bytes ---- */

static int put_request(char *to, uint32_t user)
{
    return sprintf(to, "GET /test/%u HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", user);
}

static int put_welcome(char *to, uint32_t user)
{
    char text[64];
    int length = sprintf(text, "Welcome, user %u\n", user);
    return sprintf(to, "%x\r\n%s\r\n", (unsigned)length, text);
}

static void put_chunk(char to[CHUNK + 1], int round)
{
    char text[64];
    int length = sprintf(text, "Recvd msg #%d: tick %d", round, round);
    memset(text + length, '.', sizeof text - (size_t)length);
    sprintf(to, "%x\r\n%.*s\r\n", CHUNK_BODY, CHUNK_BODY, text);
}

/* The user of the request in the buffer; 0 if it is not one of ours, whole. */
static uint32_t requested_user(ssize_t length)
{
    static const char start[] = "GET /test/";
    uint32_t user = 0;
    if (length < 20 || memcmp(buffer, start, sizeof start - 1) || memcmp(buffer + length - 4, "\r\n\r\n", 4))
        return 0;
    for (const char *p = buffer + sizeof start - 1; *p >= '0' && *p <= '9'; p++)
        user = user * 10 + (uint32_t)(*p - '0');
    return user;
}

static bool is_answer_to(uint32_t user, ssize_t length)
{
    char welcome[96];
    int tail = put_welcome(welcome, user);
    return length > tail + 12 && !memcmp(buffer, "HTTP/1.1 200", 12) &&
           !memcmp(buffer + length - tail, welcome, (size_t)tail);
}

/* ---- a server worker ---- */

enum held { CLOSED, SILENT, OPEN }; /* SILENT: accepted, but the request can't be read yet */
static uint8_t *held;               /* by descriptor */
static int held_count, held_end;    /* how many; one past the highest descriptor */

static enum held answer(int fd)
{
    char text[sizeof HEAD + 96];
    ssize_t length = read(fd, buffer, sizeof buffer);
    if (length < 0 && errno == EAGAIN)
        return SILENT;
    uint32_t user = length > 0 ? requested_user(length) : 0;
    if (!user)
        return CLOSED;
    memcpy(text, HEAD, sizeof HEAD - 1);
    int size = (int)sizeof HEAD - 1 + put_welcome(text + sizeof HEAD - 1, user);
    return write(fd, text, (size_t)size) == size ? OPEN : CLOSED;
}

static void let_go(int fd)
{
    held[fd] = CLOSED;
    close(fd);
    held_count--;
}

static void accept_batch(int epoll, int listener)
{
    int fds[BATCH], count = 0;
    while (count < BATCH && held_count < capacity) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break;
        fds[count++] = fd;
        held_count++;
        if (fd >= held_end)
            held_end = fd + 1;
    }
    for (int i = 0; i < count; i++)
        held[fds[i]] = answer(fds[i]);
    for (int i = 0; i < count; i++)
        if (held[fds[i]] == CLOSED || watch(epoll, fds[i], EPOLLIN | EPOLLET))
            let_go(fds[i]);
}

/* Something came on a held connection: a late request, or the end. */
static void hear(int fd)
{
    if (held[fd] == SILENT) {
        held[fd] = answer(fd);
    } else {
        ssize_t length = read(fd, buffer, sizeof buffer);
        if (length == 0 || (length < 0 && errno != EAGAIN))
            held[fd] = CLOSED;
    }
    if (held[fd] == CLOSED)
        let_go(fd);
}

static void send_round(struct worker *me, int round)
{
    char chunk[CHUNK + 1];
    long sent = 0;
    put_chunk(chunk, round);
    for (int fd = 0; fd < held_end; fd++)
        sent += held[fd] == OPEN && write(fd, chunk, CHUNK) == CHUNK;
    add(me, SENT, sent);
}

static void serve(struct worker *me, int listener)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    bool listening = true;
    held = column(sizeof *held);
    watch(epoll, ramp_over, EPOLLIN);
    wait_turn(me, 1);
    watch(epoll, listener, EPOLLIN);
    while (!atomic_load(&shared->ramped)) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_batch(epoll, listener);
            else if (fd != ramp_over)
                hear(fd);
        }
        if (listening && held_count >= capacity) {
            listening = false;
            epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL);
            pass_on(&shared->listening);
        }
    }
    for (int round = 1;; round++) {
        wait_turn(me, 1 + round);
        send_round(me, round);
        pass_on(&shared->sending);
    }
}

/* ---- a client worker ---- */

enum asked { UNSENT, WAITING, WELCOMED }; /* UNSENT: the request can't be written yet */
static uint8_t *asked;                    /* by descriptor */
static uint32_t *user_of;                 /* by descriptor */
static long outstanding;

static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A socket bound to that port of the user's address, or -1. */
static int bound(uint32_t user, long port)
{
    static const int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    source.sin_addr.s_addr = htonl(base_ip + (user - 1) / (uint32_t)each);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&source, sizeof source) ? give_up(fd) : fd;
}

/* That socket, connecting, or -1. */
static int connecting(int fd)
{
    if (fd < 0 || !connect(fd, (struct sockaddr *)&server_address, sizeof server_address) || errno == EINPROGRESS)
        return fd;
    return give_up(fd);
}

/* A connecting socket on a spare port of the user's address, or -1: the planned port is taken. */
static int dial_spare(uint32_t user)
{
    static uint32_t address = UINT32_MAX;
    static long spare;
    if (address != (user - 1) / (uint32_t)each) {
        address = (user - 1) / (uint32_t)each;
        spare = first_port + each;
    }
    while (spare < 65536) {
        int fd = connecting(bound(user, spare++));
        if (fd >= 0 || (errno != EADDRINUSE && errno != EADDRNOTAVAIL))
            return fd;
    }
    return -1;
}

/* False where the handshake isn't over. Rare, then many at once: loopback's half of it was left to ksoftirqd. */
static bool send_request(int fd)
{
    char text[96];
    int length = put_request(text, user_of[fd]);
    asked[fd] = write(fd, text, (size_t)length) == length ? WAITING : UNSENT;
    return asked[fd] == WAITING;
}

/* Start a batch, stage by stage. Each connection through all stages at once: 3 to 5 % slower, about the noise. */
static void open_batch(struct worker *me, int epoll, uint32_t first, int count)
{
    int fds[BATCH], dialled = 0;
    for (int i = 0; i < count; i++)
        fds[i] = bound(first + (uint32_t)i, first_port + (first + i - 1) % each);
    for (int i = 0; i < count; i++) {
        int fd = connecting(fds[i]);
        if (fd < 0 && (errno == EADDRINUSE || errno == EADDRNOTAVAIL || fds[i] < 0))
            fd = dial_spare(first + (uint32_t)i);
        if (fd < 0)
            continue;
        user_of[fd] = first + (uint32_t)i;
        fds[dialled++] = fd;
    }
    for (int i = 0; i < dialled; i++)
        send_request(fds[i]);
    for (int i = 0; i < dialled; i++)
        watch(epoll, fds[i], EPOLLIN | EPOLLET | (asked[fds[i]] == UNSENT ? EPOLLOUT : 0));
    outstanding += dialled;
    add(me, FAILED, count - dialled);
    atomic_fetch_sub(&shared->in_flight, count - dialled);
}

/* Wait once and read what came. A read that doesn't fill the buffer has emptied the socket: no second one. */
static void collect(struct worker *me, int epoll, int timeout)
{
    long opened = 0, failed = 0, bytes = 0;
    int count = epoll_wait(epoll, events, EVENTS, timeout);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (asked[fd] == UNSENT && send_request(fd))
            continue;
        ssize_t length = read(fd, buffer, sizeof buffer);
        if (length > 0 && asked[fd] == WELCOMED) {
            bytes += length;
        } else if (length > 0 && is_answer_to(user_of[fd], length)) {
            asked[fd] = WELCOMED;
            opened++;
        } else if (length >= 0 || errno != EAGAIN) {
            failed += asked[fd] != WELCOMED;
            close(fd);
        }
    }
    if (opened || bytes)
        atomic_store(&me->last, now());
    if (bytes)
        add(me, BYTES, bytes);
    if (!opened && !failed)
        return;
    outstanding -= opened + failed;
    atomic_fetch_sub(&shared->in_flight, opened + failed);
    add(me, OPENED, opened);
    add(me, FAILED, failed);
}

/* Room in flight for a whole batch, or none: room given out one by one would make batches of one. */
static int reserve(long left)
{
    long used = atomic_load(&shared->in_flight), wanted = left < BATCH ? left : BATCH;
    if (wanted > in_flight_limit)
        wanted = in_flight_limit;
    do
        if (in_flight_limit - used < wanted)
            return 0;
    while (!atomic_compare_exchange_weak(&shared->in_flight, &used, used + wanted));
    return (int)wanted;
}

static void attack(struct worker *me, long first, long end)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    asked = column(sizeof *asked);
    user_of = column(sizeof *user_of);
    wait_turn(me, 1);
    while (first < end) {
        int count = reserve(end - first);
        if (count)
            open_batch(me, epoll, (uint32_t)first, count);
        first += count;
        collect(me, epoll, count ? 0 : outstanding ? -1 : 1);
    }
    pass_on(&shared->opening);
    for (;;)
        collect(me, epoll, -1);
}

/* ---- the parent ---- */

static long total(enum figure figure)
{
    long sum = 0;
    for (int i = 0; i < servers + clients; i++)
        sum += atomic_load(&shared->workers[i].figures[figure]);
    return sum;
}

/* Print how long it took from then to the last byte read anywhere, and how many a second that makes. */
static void print_rate(long start, long count)
{
    long last = start;
    for (int i = servers; i < servers + clients; i++)
        if (atomic_load(&shared->workers[i].last) > last)
            last = atomic_load(&shared->workers[i].last);
    double seconds = (double)(last - start) / SECOND;
    printf("\"seconds\":%.3f,\"per_second\":%.0f}", seconds, last > start ? (double)count / seconds : 0.0);
}

static bool ramp(void)
{
    long start = now(), progress = start, before = 0;
    begin(&shared->listening, 1, 0, servers);
    begin(&shared->opening, 1, servers, servers + clients);
    for (long done = 0; done < connections && now() - progress < OPENING_STALLED * SECOND; before = done) {
        sleep_ns(SECOND / 500);
        done = total(OPENED) + total(FAILED);
        if (done != before)
            progress = now();
    }
    long opened = total(OPENED);
    printf("{\"opened\":%ld,\"failed\":%ld,\"ramp\":{", opened, connections - opened);
    print_rate(start, opened);
    printf(",\"workers\":{\"client\":%d,\"server\":%d},\"ticks\":[", clients, servers);
    atomic_store(&shared->ramped, true);
    eventfd_write(ramp_over, 1);
    return opened == connections;
}

static bool tick(int round)
{
    long sent = total(SENT), bytes = total(BYTES), expected = total(OPENED) * CHUNK, start = now();
    bool all = false;
    begin(&shared->sending, 1 + round, 0, servers);
    while (!all && now() - start < ROUND_LIMIT * SECOND) {
        sleep_ns(SECOND / 1000);
        all = all_had(&shared->sending) && total(BYTES) - bytes >= expected;
    }
    long received = (total(BYTES) - bytes) / CHUNK;
    printf("%s{\"sent\":%ld,\"received\":%ld,", round > 1 ? "," : "", total(SENT) - sent, received);
    print_rate(start, received);
    return all;
}

/* TCP_DEFER_ACCEPT: the request is there at accept. SO_LINGER 0, inherited by what is accepted: the end resets, which
 * makes closing a quarter shorter and leaves no TIME_WAIT behind. TCP_QUICKACK 0 at either end: no gain. */
static int listen_on_loopback(void)
{
    static const int on = 1;
    static const struct linger reset = {1, 0};
    socklen_t size = sizeof server_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) ||
        bind(fd, (struct sockaddr *)&server_address, size) ||
        getsockname(fd, (struct sockaddr *)&server_address, &size) || listen(fd, 65535))
        die("listener");
    return fd;
}

/* SCHED_BATCH: no wake-up preempts the sender, so readers find batches. Without it rounds are a quarter slower, opening
 * 5 %. Servers pinned to one core and clients to the other: rounds half as fast, opening a quarter slower. */
static pid_t fork_worker(int index, int listener)
{
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        die("fork");
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    signal(SIGPIPE, SIG_IGN);
    struct worker *me = &shared->workers[index];
    if (index < servers)
        serve(me, listener);
    attack(me, 1 + connections * (index - servers) / clients, 1 + connections * (index - servers + 1) / clients);
    _exit(1);
}

static void end(const pid_t *children, int count)
{
    for (int i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(children[i], NULL, 0);
}

static void usage(const char *wrong)
{
    fprintf(stderr, "yardstick: %s: see the top of yardstick.c\n", wrong);
    exit(2);
}

static void read_options(int argc, char **argv)
{
    static const struct {
        const char *name;
        long *value, least, most;
    } options[] = {{"--connections", &connections, 1, 100000000}, {"--each", &each, 1, 65535},
                   {"--first-port", &first_port, 1, 65535},       {"--in-flight", &in_flight_limit, 1, 1000000},
                   {"--rounds", &rounds, 0, 1000},                {"--hold", &hold, 0, 1000000},
                   {"--capacity", &capacity, 1, 1000000}};
    const size_t known = sizeof options / sizeof *options;
    base_ip = ntohl(inet_addr("127.0.1.1"));
    for (int i = 1; i < argc; i += 2) {
        size_t option = 0;
        char *rest = "";
        struct in_addr address;
        if (i + 1 == argc)
            usage(argv[i]);
        if (!strcmp(argv[i], "--base-ip") && inet_aton(argv[i + 1], &address)) {
            base_ip = ntohl(address.s_addr);
            continue;
        }
        while (option < known && strcmp(argv[i], options[option].name))
            option++;
        if (option == known)
            usage(argv[i]);
        long value = strtol(argv[i + 1], &rest, 10);
        if (rest == argv[i + 1] || *rest || value < options[option].least || value > options[option].most)
            usage(argv[i]);
        *options[option].value = value;
    }
    if (!connections || first_port + each > 65536)
        usage("no --connections, or --first-port + --each past 65536");
}

/* How many workers each end needs; the file limit is raised to what it may be. */
static int workers_needed(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    long most = (files.rlim_max > 1000000 ? 1000000 : (long)files.rlim_max) - OWN_FILES;
    if (!capacity || capacity > most)
        capacity = most;
    long needed = (connections + capacity - 1) / capacity;
    if (needed < cores)
        needed = cores < connections ? cores : connections;
    return (int)needed;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    servers = clients = workers_needed();
    int listener = listen_on_loopback(), count = servers + clients;
    ramp_over = eventfd(0, EFD_CLOEXEC);
    pid_t *children = calloc((size_t)count, sizeof *children);
    shared = mmap(NULL, sizeof *shared + sizeof(struct worker) * (size_t)count, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!children || shared == MAP_FAILED)
        die("memory");
    for (int i = 0; i < count; i++)
        children[i] = fork_worker(i, listener);
    close(listener);
    sleep_ns(SECOND / 5); /* all are waiting for their turn */
    bool complete = ramp();
    for (int round = 1; round <= rounds && complete; round++)
        complete = tick(round);
    sleep_ns(hold * SECOND);
    end(children, servers); /* first: their resets end both sides */
    end(children + servers, clients);
    printf("]}\n");
    return complete ? 0 : 4;
}
