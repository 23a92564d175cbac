/* What libuv does without sockets.   libuv_micro TASK OPERATIONS   Prints ns per operation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define RUNNING 10000
#define LONG_MS 10000000ull

static uv_loop_t *loop;
static uint64_t state = 0x9e3779b97f4a7c15ull;
static unsigned done, operations;

static uint32_t below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(((state >> 32) * limit) >> 32);
}

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

static void on_timer(uv_timer_t *timer) { (void)timer, done++; }

static void on_idle(uv_idle_t *idle) {
  if (++done == operations) uv_idle_stop(idle);
}

static double start_again(uv_timer_t *timers, unsigned count, unsigned different) {
  uint64_t *durations = malloc(count * sizeof *durations);
  for (unsigned i = 0; i < count; i++) durations[i] = LONG_MS + below(different);
  double before = now_ns();
  for (unsigned i = 0; i < count; i++) uv_timer_start(&timers[i], on_timer, durations[i], 0);
  double took = now_ns() - before;
  free(durations);
  return took;
}

static double start(uv_timer_t *timers, unsigned count, unsigned different) {
  for (unsigned i = 0; i < count; i++) uv_timer_init(loop, &timers[i]);
  return start_again(timers, count, different);
}

static double cancel(uv_timer_t *timers, unsigned count, int at_random) {
  unsigned *order = malloc(count * sizeof *order);
  for (unsigned i = 0; i < count; i++) order[i] = i;
  for (unsigned last = count - 1; at_random && last > 0; last--) {
    unsigned other = below(last + 1), kept = order[last];
    order[last] = order[other];
    order[other] = kept;
  }
  double before = now_ns();
  for (unsigned i = 0; i < count; i++) uv_timer_stop(&timers[order[i]]);
  double took = now_ns() - before;
  free(order);
  return took;
}

static double once(const char *task) {
  unsigned different = 1;
  const char *number = strrchr(task, '-');
  if (number && number[1] >= '0' && number[1] <= '9') different = strtoul(number + 1, 0, 10);
  uv_timer_t *timers = malloc((operations < RUNNING ? RUNNING : operations) * sizeof *timers);
  double took = -1;
  done = 0;
  if (!strncmp(task, "timer-start-", 12)) {
    /* Memory that was touched before. */
    start(timers, operations, different);
    cancel(timers, operations, 0);
    took = start_again(timers, operations, different);
    cancel(timers, operations, 0);
  } else if (!strcmp(task, "timer-cancel-in-order")) {
    start(timers, operations, 1);
    took = cancel(timers, operations, 0);
  } else if (!strncmp(task, "timer-cancel-random-", 20)) {
    start(timers, operations, different);
    took = cancel(timers, operations, 1);
  } else if (!strcmp(task, "timer-rearm")) {
    start(timers, RUNNING, 1);
    double before = now_ns();
    for (unsigned i = 0; i < operations; i++)
      uv_timer_start(&timers[i % RUNNING], on_timer, LONG_MS, 0);
    took = now_ns() - before;
    cancel(timers, RUNNING, 0);
  } else if (!strcmp(task, "timer-fire")) {
    for (unsigned i = 0; i < operations; i++) {
      uv_timer_init(loop, &timers[i]);
      uv_timer_start(&timers[i], on_timer, 1, 0);
    }
    double before = now_ns();
    uv_run(loop, UV_RUN_DEFAULT);
    if (done == operations) took = now_ns() - before;
  } else if (!strcmp(task, "turn")) {
    uv_idle_t idle;
    uv_idle_init(loop, &idle);
    uv_idle_start(&idle, on_idle);
    double before = now_ns();
    uv_run(loop, UV_RUN_DEFAULT);
    took = now_ns() - before;
    uv_close((uv_handle_t *)&idle, 0);
    uv_run(loop, UV_RUN_DEFAULT);
  }
  /* The memory of handles that were not closed is still known to the loop. */
  return took;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  unsigned all = strtoul(argv[2], 0, 10);
  loop = uv_default_loop();
  /* A tenth to warm up. */
  operations = all / 10;
  if (once(argv[1]) < 0) return 1;
  operations = all;
  printf("%f\n", once(argv[1]) / all);
  return 0;
}
