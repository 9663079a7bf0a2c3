/*
 * The least that a WebSocket server on Node's event loop can cost: an epoll descriptor watched by libuv, what a turn read handed to
 * JavaScript in one call, what JavaScript sent written when it returns. It is a measure and no server: it checks nothing, keeps no
 * limit, knows one topic, and answers neither ping nor close. What it costs is the price of the kernel, of Node and of the border.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

enum { MOST = 32768, ROOM = 1 << 18, EVENTS = 1024 };

typedef struct {
  uint8_t *in, *out;
  size_t in_len, out_len, out_room;
  bool open, dirty, subscribed, blocked;
} conn_t;

static conn_t conns[MOST];
static int dirty[MOST], dirty_count, subscribers[MOST], subscriber_count;
static int listener, poller;
static uv_poll_t watch;
static uv_prepare_t before;
static napi_env env;
static napi_ref on_turn;
static napi_async_context context;

/** What a turn has read: [descriptor, text, …]; a text of a connection that is not open yet is its request. */
static napi_value batch;
static uint32_t batch_len;

static void hand(int fd, const uint8_t *text, size_t len) {
  napi_value id, string;
  napi_create_int32(env, fd, &id);
  napi_create_string_latin1(env, (const char *)text, len, &string);
  napi_set_element(env, batch, batch_len++, id);
  napi_set_element(env, batch, batch_len++, string);
}

static void owe(int fd, const uint8_t *bytes, size_t len) {
  conn_t *conn = &conns[fd];
  if (conn->out_len + len > conn->out_room) {
    conn->out_room = (conn->out_len + len) * 2;
    conn->out = realloc(conn->out, conn->out_room);
  }
  memcpy(conn->out + conn->out_len, bytes, len);
  conn->out_len += len;
  if (!conn->dirty) {
    conn->dirty = true;
    dirty[dirty_count++] = fd;
  }
}

static size_t frame(uint8_t *into, napi_value text) {
  size_t len;
  napi_get_value_string_latin1(env, text, (char *)into + 10, ROOM - 10, &len);
  size_t head = len < 126 ? 2 : len < 65536 ? 4 : 10;
  uint8_t *at = into + 10 - head;
  at[0] = 0x81;
  if (head == 2) at[1] = (uint8_t)len;
  else if (head == 4) { at[1] = 126; at[2] = (uint8_t)(len >> 8); at[3] = (uint8_t)len; }
  else { at[1] = 127; uint64_t big = htobe64(len); memcpy(at + 2, &big, 8); }
  return head + len;
}

static void parse(int fd) {
  conn_t *conn = &conns[fd];
  if (!conn->open) {
    if (conn->in_len < 4 || memcmp(conn->in + conn->in_len - 4, "\r\n\r\n", 4) != 0) return;
    hand(fd, conn->in, conn->in_len);
    conn->in_len = 0;
    conn->open = true;
    return;
  }
  size_t at = 0;
  while (conn->in_len - at >= 6) {
    uint8_t *head = conn->in + at;
    size_t len = head[1] & 127, wide = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (conn->in_len - at < 6 + wide) break;
    if (wide == 2) len = (size_t)head[2] << 8 | head[3];
    else if (wide == 8) { uint64_t big; memcpy(&big, head + 2, 8); len = be64toh(big); }
    if (conn->in_len - at < 6 + wide + len) break;
    uint8_t *mask = head + 2 + wide, *text = mask + 4;
    uint32_t word;
    memcpy(&word, mask, 4);
    uint64_t pattern = (uint64_t)word << 32 | word;
    size_t n = 0;
    for (; n + 8 <= len; n += 8) { uint64_t part; memcpy(&part, text + n, 8); part ^= pattern; memcpy(text + n, &part, 8); }
    for (; n < len; n++) text[n] ^= mask[n & 3];
    if ((head[0] & 15) == 1) hand(fd, text, len);
    at += 6 + wide + len;
  }
  memmove(conn->in, conn->in + at, conn->in_len - at);
  conn->in_len -= at;
}

static void leave(int fd) {
  conn_t *conn = &conns[fd];
  if (conn->subscribed) {
    for (int n = 0; n < subscriber_count; n++) if (subscribers[n] == fd) { subscribers[n] = subscribers[--subscriber_count]; break; }
  }
  close(fd);
  conn->open = conn->subscribed = conn->blocked = false;
  conn->in_len = conn->out_len = 0;
}

static void watch_for(int fd, uint32_t events) {
  struct epoll_event interest = {.events = events, .data.fd = fd};
  epoll_ctl(poller, EPOLL_CTL_MOD, fd, &interest);
}

static void flush(int fd) {
  conn_t *conn = &conns[fd];
  if (conn->out_len == 0 || conn->blocked) return;
  ssize_t sent = send(fd, conn->out, conn->out_len, MSG_NOSIGNAL);
  if (sent > 0) {
    memmove(conn->out, conn->out + sent, conn->out_len - (size_t)sent);
    conn->out_len -= (size_t)sent;
  }
  conn->blocked = conn->out_len > 0;
  if (conn->blocked) watch_for(fd, EPOLLIN | EPOLLOUT);
}

static void flush_all(void) {
  for (int n = 0; n < dirty_count; n++) {
    conns[dirty[n]].dirty = false;
    flush(dirty[n]);
  }
  dirty_count = 0;
}

static void come(void) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    if (fd >= MOST) { close(fd); continue; }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (conns[fd].in == NULL) conns[fd].in = malloc(ROOM);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest);
  }
}

static void turn(uv_poll_t *handle, int status, int events) {
  (void)handle, (void)status, (void)events;
  static struct epoll_event ready[EVENTS];
  int count = epoll_wait(poller, ready, EVENTS, 0);
  napi_handle_scope scope;
  napi_open_handle_scope(env, &scope);
  napi_create_array(env, &batch);
  batch_len = 0;
  for (int n = 0; n < count; n++) {
    int fd = ready[n].data.fd;
    if (fd == listener) { come(); continue; }
    conn_t *conn = &conns[fd];
    if (ready[n].events & EPOLLOUT && conn->blocked) { conn->blocked = false; watch_for(fd, EPOLLIN); flush(fd); }
    if (!(ready[n].events & ~EPOLLOUT)) continue;
    ssize_t got = recv(fd, conn->in + conn->in_len, ROOM - conn->in_len, 0);
    if (got > 0) { conn->in_len += (size_t)got; parse(fd); }
    else if (got == 0 || errno != EAGAIN) leave(fd);
  }
  if (batch_len > 0) {
    napi_value function, global, result;
    napi_get_reference_value(env, on_turn, &function);
    napi_get_global(env, &global);
    napi_make_callback(env, context, global, function, 1, &batch, &result);
  }
  napi_close_handle_scope(env, scope);
  flush_all();
}

/* What timers and other handles have sent goes out before the loop sleeps. */
static void prepare(uv_prepare_t *handle) {
  (void)handle;
  flush_all();
}

static napi_value start(napi_env caller, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1], name, port;
  napi_get_cb_info(caller, info, &argc, argv, NULL, NULL);
  env = caller;
  napi_create_reference(env, argv[0], 1, &on_turn);
  napi_create_string_utf8(env, "floor", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &context);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 4096) != 0) {
    napi_throw_error(env, NULL, "cannot listen");
    return NULL;
  }
  getsockname(listener, (struct sockaddr *)&address, &len);
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest);
  uv_loop_t *loop;
  napi_get_uv_event_loop(env, &loop);
  uv_poll_init(loop, &watch, poller);
  uv_poll_start(&watch, UV_READABLE, turn);
  uv_prepare_init(loop, &before);
  uv_prepare_start(&before, prepare);
  napi_create_int32(env, ntohs(address.sin_port), &port);
  return port;
}

static int descriptor(napi_callback_info info, napi_value *text) {
  size_t argc = 2;
  napi_value argv[2];
  int fd;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  napi_get_value_int32(env, argv[0], &fd);
  *text = argv[1];
  return fd;
}

static uint8_t scratch[ROOM];

/** send(descriptor, text): one text frame, written when the turn ends. */
static napi_value send_text(napi_env caller, napi_callback_info info) {
  (void)caller;
  napi_value text;
  int fd = descriptor(info, &text);
  size_t len = frame(scratch, text), payload = len < 128 ? len - 2 : len < 65540 ? len - 4 : len - 10;
  owe(fd, scratch + 10 - (len - payload), len);
  return NULL;
}

/** raw(descriptor, text): bytes as they are, the answer to a request. */
static napi_value send_raw(napi_env caller, napi_callback_info info) {
  napi_value text;
  int fd = descriptor(info, &text);
  size_t len;
  napi_get_value_string_latin1(caller, text, (char *)scratch, ROOM, &len);
  owe(fd, scratch, len);
  return NULL;
}

static napi_value subscribe(napi_env caller, napi_callback_info info) {
  (void)caller;
  napi_value text;
  int fd = descriptor(info, &text);
  if (!conns[fd].subscribed) {
    conns[fd].subscribed = true;
    subscribers[subscriber_count++] = fd;
  }
  return NULL;
}

/** publish(text): to every subscriber of the one topic, framed once. */
static napi_value publish(napi_env caller, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  napi_get_cb_info(caller, info, &argc, argv, NULL, NULL);
  size_t len = frame(scratch, argv[0]), payload = len < 128 ? len - 2 : len < 65540 ? len - 4 : len - 10;
  for (int n = 0; n < subscriber_count; n++) owe(subscribers[n], scratch + 10 - (len - payload), len);
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_property_descriptor all[] = {
      {"start", 0, start, 0, 0, 0, napi_enumerable, 0},         {"send", 0, send_text, 0, 0, 0, napi_enumerable, 0},
      {"raw", 0, send_raw, 0, 0, 0, napi_enumerable, 0},        {"subscribe", 0, subscribe, 0, 0, 0, napi_enumerable, 0},
      {"publish", 0, publish, 0, 0, 0, napi_enumerable, 0},
  };
  napi_define_properties(env, exports, sizeof all / sizeof *all, all);
  return exports;
}
