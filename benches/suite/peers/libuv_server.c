/* The same servers on libuv, tuned: one read buffer for all, uv_try_write first, a queue only while
 * the kernel takes no more.
 *     libuv_server MODE ADDRESS:PORT [--chunk BYTES] [--gather] [--file PATH] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define FRAME 64
#define BLOCK (64 * 1024)

enum mode { M_ECHO, M_MESSAGES, M_SINK, M_SOURCE, M_BROADCAST, M_ACCEPT_CLOSE, M_PAUSE_ECHO, M_FILE, M_UDP_ECHO, M_MODES };
static const char *const names[M_MODES] = {
    "tcp-echo", "msg-echo", "tcp-sink", "tcp-source", "broadcast", "accept-close", "pause-echo", "tcp-file", "udp-echo"};

/* What is left of a write that the kernel did not take whole. */
struct rest {
  uv_write_t request;
  char *bytes;
};

struct connection {
  uv_tcp_t tcp;
  struct connection *next, *previous; /* everyone, for broadcasts */
  struct connection *next_paused;
  unsigned partial; /* bytes of a frame whose rest has not come */
  char *frame;
  struct sending *sending; /* a file */
};

/* A file on its way: read in another thread, then written, then the next block. */
struct sending {
  uv_fs_t read;
  uv_write_t write;
  uv_file file;
  int64_t at;
  char block[BLOCK];
};

static uv_loop_t *loop;
static enum mode mode;
static int gather;
static size_t chunk = 64 * 1024;
static char *buffer, *block;
static const char *path;
static struct connection *everyone, *paused;
static uv_check_t resume;
static uv_idle_t no_wait;

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);
static void fill(struct connection *connection);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle, (void)suggested;
  *buf = uv_buf_init(buffer, chunk);
}

static void on_close(uv_handle_t *handle) {
  struct connection *connection = handle->data;
  if (connection->sending) {
    uv_fs_t closing;
    uv_fs_close(loop, &closing, connection->sending->file, NULL);
    free(connection->sending);
  }
  free(connection->frame);
  free(connection);
}

static void end(struct connection *connection) {
  if (uv_is_closing((uv_handle_t *)&connection->tcp)) return;
  if (mode == M_BROADCAST) {
    if (connection->previous) connection->previous->next = connection->next;
    else everyone = connection->next;
    if (connection->next) connection->next->previous = connection->previous;
  }
  for (struct connection **link = &paused; *link; link = &(*link)->next_paused)
    if (*link == connection) {
      *link = connection->next_paused;
      break;
    }
  uv_close((uv_handle_t *)&connection->tcp, on_close);
}

static void on_written(uv_write_t *request, int status) {
  struct connection *connection = request->handle->data;
  struct rest *rest = (struct rest *)request;
  free(rest->bytes);
  free(rest);
  if (status) return end(connection);
  if (mode == M_SOURCE) return fill(connection);
  if (mode != M_BROADCAST && uv_stream_get_write_queue_size((uv_stream_t *)&connection->tcp) == 0)
    uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
}

/* Whether the kernel took all of it. */
static int send_bytes(struct connection *connection, const char *bytes, size_t size) {
  uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
  uv_buf_t whole = uv_buf_init((char *)bytes, size);
  int sent = uv_try_write(stream, &whole, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) {
    end(connection);
    return 0;
  }
  if ((size_t)sent == size) return 1;
  struct rest *rest = malloc(sizeof *rest);
  rest->bytes = malloc(size - sent);
  memcpy(rest->bytes, bytes + sent, size - sent);
  uv_buf_t left = uv_buf_init(rest->bytes, size - sent);
  uv_write(&rest->request, stream, &left, 1, on_written);
  /* Who does not take answers sends no further questions. */
  if (mode != M_BROADCAST && mode != M_SOURCE) uv_read_stop(stream);
  return 0;
}

static void fill(struct connection *connection) {
  for (int left = 32; left > 0; left--)
    if (!send_bytes(connection, block, BLOCK)) return;
  /* One byte more, whose callback comes when the others have had their turn. */
  struct rest *rest = calloc(1, sizeof *rest);
  uv_buf_t more = uv_buf_init(block, 1);
  uv_write(&rest->request, (uv_stream_t *)&connection->tcp, &more, 1, on_written);
}

static void read_block(struct connection *connection);

static void on_block_written(uv_write_t *request, int status) {
  struct connection *connection = request->handle->data;
  if (status) return end(connection);
  read_block(connection);
}

static void on_block_read(uv_fs_t *request) {
  struct connection *connection = request->data;
  struct sending *sending = connection->sending;
  ssize_t size = request->result;
  uv_fs_req_cleanup(request);
  if (size <= 0) return end(connection);
  sending->at += size;
  uv_buf_t whole = uv_buf_init(sending->block, size);
  int sent = uv_try_write((uv_stream_t *)&connection->tcp, &whole, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return end(connection);
  if (sent == size) return read_block(connection);
  uv_buf_t left = uv_buf_init(sending->block + sent, size - sent);
  uv_write(&sending->write, (uv_stream_t *)&connection->tcp, &left, 1, on_block_written);
}

/* Nothing reads from the client, so only what is done here ends the connection. */
static void read_block(struct connection *connection) {
  struct sending *sending = connection->sending;
  uv_buf_t whole = uv_buf_init(sending->block, BLOCK);
  sending->read.data = connection;
  uv_fs_read(loop, &sending->read, sending->file, &whole, 1, sending->at, on_block_read);
}

static void send_file(struct connection *connection) {
  uv_fs_t opening;
  int file = uv_fs_open(loop, &opening, path, O_RDONLY, 0, NULL);
  if (file < 0) return end(connection);
  connection->sending = calloc(1, sizeof *connection->sending);
  connection->sending->file = file;
  read_block(connection);
}

static void answer_frames(struct connection *connection, const char *bytes, size_t size) {
  if (connection->partial) {
    size_t missing = FRAME - connection->partial, take = missing < size ? missing : size;
    memcpy(connection->frame + connection->partial, bytes, take);
    connection->partial += take;
    bytes += take, size -= take;
    if (connection->partial < FRAME) return;
    connection->partial = 0;
    send_bytes(connection, connection->frame, FRAME);
  }
  size_t whole = size - size % FRAME;
  if (gather && whole) send_bytes(connection, bytes, whole);
  else
    for (size_t at = 0; at < whole; at += FRAME) send_bytes(connection, bytes + at, FRAME);
  if (size > whole) {
    if (!connection->frame) connection->frame = malloc(FRAME);
    connection->partial = size - whole;
    memcpy(connection->frame, bytes + whole, connection->partial);
  }
}

static void on_no_wait(uv_idle_t *idle) { (void)idle; }

static void on_resume(uv_check_t *check) {
  (void)check;
  uv_idle_stop(&no_wait);
  while (paused) {
    struct connection *connection = paused;
    paused = connection->next_paused;
    uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
  }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
  struct connection *connection = stream->data, *next;
  if (size < 0) return end(connection);
  switch (mode) {
    case M_ECHO:
      send_bytes(connection, buf->base, size);
      break;
    case M_MESSAGES:
      answer_frames(connection, buf->base, size);
      break;
    case M_BROADCAST:
      for (struct connection *to = everyone; to; to = next) {
        next = to->next;
        send_bytes(to, buf->base, size);
      }
      break;
    case M_PAUSE_ECHO:
      send_bytes(connection, buf->base, size);
      uv_read_stop(stream);
      connection->next_paused = paused;
      paused = connection;
      uv_idle_start(&no_wait, on_no_wait);
      break;
    default:
      break;
  }
}

static void on_connection(uv_stream_t *server, int status) {
  if (status) return;
  struct connection *connection = calloc(1, sizeof *connection);
  uv_tcp_init(loop, &connection->tcp);
  connection->tcp.data = connection;
  if (uv_accept(server, (uv_stream_t *)&connection->tcp) || mode == M_ACCEPT_CLOSE) {
    uv_close((uv_handle_t *)&connection->tcp, on_close);
    return;
  }
  if (mode == M_MESSAGES || mode == M_BROADCAST) uv_tcp_nodelay(&connection->tcp, 1);
  if (mode == M_BROADCAST) {
    connection->next = everyone;
    if (everyone) everyone->previous = connection;
    everyone = connection;
  }
  if (mode == M_FILE) return send_file(connection);
  uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
  if (mode == M_SOURCE) fill(connection);
}

static void on_datagram(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags) {
  (void)flags;
  if (size < 0 || !from) return;
  uv_buf_t answer = uv_buf_init(buf->base, size);
  /* What the kernel has no room for is lost, as datagrams are. */
  uv_udp_try_send(udp, &answer, 1, from);
}

static int serve_udp(const struct sockaddr_in *at, const char *host) {
  static uv_udp_t udp;
  struct sockaddr_in address;
  int length = sizeof address, room = 4 * 1024 * 1024;
  uv_udp_init(loop, &udp);
  if (uv_udp_bind(&udp, (const struct sockaddr *)at, 0) ||
      uv_recv_buffer_size((uv_handle_t *)&udp, &room) ||
      uv_udp_getsockname(&udp, (struct sockaddr *)&address, &length) ||
      uv_udp_recv_start(&udp, on_alloc, on_datagram))
    return 1;
  printf("ready\nlistening on %s:%d\n", host, ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  for (mode = 0; mode < M_MODES && strcmp(argv[1], names[mode]); mode++) {}
  char *colon = strrchr(argv[2], ':');
  if (mode == M_MODES || !colon) return 2;
  *colon = 0;
  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "--gather")) gather = 1;
    else if (!strcmp(argv[i], "--chunk") && i + 1 < argc) chunk = strtoul(argv[++i], 0, 10);
    else if (!strcmp(argv[i], "--file") && i + 1 < argc) path = argv[++i];
    else return 2;
  }
  buffer = malloc(chunk);
  block = malloc(BLOCK);
  memset(block, 'x', BLOCK);
  loop = uv_default_loop();
  uv_check_init(loop, &resume);
  uv_idle_init(loop, &no_wait);
  if (mode == M_PAUSE_ECHO) uv_check_start(&resume, on_resume);
  struct sockaddr_in address;
  uv_tcp_t server;
  uv_tcp_init(loop, &server);
  int length = sizeof address;
  if (uv_ip4_addr(argv[2], atoi(colon + 1), &address)) return 1;
  if (mode == M_UDP_ECHO) return serve_udp(&address, argv[2]);
  if (uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) ||
      uv_listen((uv_stream_t *)&server, 1024, on_connection) ||
      uv_tcp_getsockname(&server, (struct sockaddr *)&address, &length))
    return 1;
  printf("ready\nlistening on %s:%d\n", argv[2], ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
