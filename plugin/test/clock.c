/*
 * The wall clock of a process that a test moves: preloaded, it takes the time
 * from the file that CLOCK_FILE names, nanoseconds since 1970 as 64 bits, so
 * that hsd's JavaScript and the addon's Rust see the same. Durations are true.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *now;

__attribute__((constructor)) static void start(void) {
  const char *name = getenv("CLOCK_FILE");
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *page = fd < 0 ? MAP_FAILED
                      : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);

  if (page == MAP_FAILED)
    abort();

  now = page;
  close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *to) {
  int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;

  if (!now || !is_wall)
    return syscall(SYS_clock_gettime, clock, to);

  int64_t ns = *now;
  to->tv_sec = ns / 1000000000;
  to->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *to, void *zone) {
  struct timespec at;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &at);
  to->tv_sec = at.tv_sec;
  to->tv_usec = at.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *to) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (to)
    *to = at.tv_sec;
  return at.tv_sec;
}
