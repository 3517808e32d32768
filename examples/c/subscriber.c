/* Prints the events of a sadstream daemon as JSON, and what was lost, restarted or silent on standard error.
 * subscriber [ENDPOINT]
 *
 * A JSON library would do more; for the envelope the text is enough: inside a JSON string a quote is always
 * escaped, so `"seq":` can be nothing but a key, and no nested object has one of the keys read here.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { STREAMS = 64, NAME = 33, SESSION = 65, TYPES = 3, STALE_S = 11, FRAME = 65536 };

static const char *const TYPE[TYPES] = {"score", "status", "episode"};

struct stream {
    char name[NAME];
    char session[SESSION];
    int from_start; /* its session began while we listened, so number 0 is owed too */
    long long seq[TYPES];
    double heard_s;
    int stale;
};

static struct stream streams[STREAMS];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The text of a string field; 0 if it is missing or too long. */
static int text_field(const char *json, const char *key, char *out, size_t size)
{
    const char *at = strstr(json, key);
    if (at == NULL)
        return 0;
    at += strlen(key);
    size_t length = strcspn(at, "\"");
    if (length >= size)
        return 0;
    memcpy(out, at, length);
    out[length] = '\0';
    return 1;
}

/* The value of an integer field; -1 if it is missing or null. */
static long long number_field(const char *json, const char *key)
{
    const char *at = strstr(json, key);
    if (at == NULL || strncmp(at + strlen(key), "null", 4) == 0)
        return -1;
    return strtoll(at + strlen(key), NULL, 10);
}

static struct stream *find(const char *name)
{
    for (int i = 0; i < STREAMS; i++) {
        if (streams[i].name[0] == '\0')
            strcpy(streams[i].name, name);
        if (strcmp(streams[i].name, name) == 0)
            return &streams[i];
    }
    return NULL;
}

static void missing(struct stream *heard, int type, long long last)
{
    if (last <= heard->seq[type] || (heard->seq[type] < 0 && !heard->from_start))
        return;
    fprintf(stderr, "gap %s %s %lld %lld\n", heard->name, TYPE[type], heard->seq[type] + 1, last);
    heard->seq[type] = last;
}

static void feed(const char *json)
{
    char name[NAME], session[SESSION], kind[16];
    int type = 0;
    if (number_field(json, "\"v\":") != 1 || !text_field(json, "\"type\":\"", kind, sizeof kind) ||
        !text_field(json, "\"stream\":\"", name, sizeof name) ||
        !text_field(json, "\"session\":\"", session, sizeof session))
        return;
    while (type < TYPES && strcmp(kind, TYPE[type]) != 0)
        type++;
    struct stream *heard = type < TYPES ? find(name) : NULL;
    if (heard == NULL)
        return; /* a type or a number of streams that is not ours to read */
    if (strcmp(heard->session, session) != 0) {
        heard->from_start = heard->session[0] != '\0';
        if (heard->from_start)
            fprintf(stderr, "restart %s\n", name);
        strcpy(heard->session, session);
        for (int i = 0; i < TYPES; i++)
            heard->seq[i] = -1;
    }
    heard->heard_s = now_s();
    heard->stale = 0;
    long long seq = number_field(json, "\"seq\":");
    missing(heard, type, seq - 1);
    if (type == 1)
        missing(heard, 0, number_field(json, "\"last_score_seq\":"));
    if (seq <= heard->seq[type])
        return; /* said again, because somebody joined */
    heard->seq[type] = seq;
    puts(json);
    fflush(stdout);
}

static void look_for_silence(void)
{
    for (int i = 0; i < STREAMS && streams[i].name[0] != '\0'; i++) {
        if (!streams[i].stale && now_s() - streams[i].heard_s > STALE_S) {
            streams[i].stale = 1;
            fprintf(stderr, "stale %s\n", streams[i].name);
        }
    }
}

int main(int argc, char **argv)
{
    static char frame[FRAME + 1];
    const char *endpoint = argc > 1 ? argv[1] : "tcp://127.0.0.1:5556";
    int wait_ms = 500, longest_ms = 2000;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &longest_ms, sizeof longest_ms);
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "sad.", 4);
    if (zmq_connect(socket, endpoint) != 0) {
        fprintf(stderr, "%s: %s\n", endpoint, zmq_strerror(zmq_errno()));
        return 1;
    }
    for (;;) {
        int size = zmq_recv(socket, frame, FRAME, 0);
        if (size > FRAME)
            continue; /* longer than any event */
        if (size >= 0) {
            frame[size] = '\0';
            const char *space = strchr(frame, ' ');
            if (space != NULL)
                feed(space + 1);
        } else if (zmq_errno() == ETERM) {
            return 0;
        }
        look_for_silence();
    }
}
