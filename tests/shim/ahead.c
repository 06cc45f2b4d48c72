/* A wall clock that is ahead by TRUNKLINE_AHEAD_SECONDS. The monotonic clock, and with it every timer,
 * is left alone. tests/harness/ahead.rs builds and preloads this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*clock_gettime_fn)(clockid_t, struct timespec *);

static clock_gettime_fn real;
static time_t ahead;

__attribute__((constructor)) static void begin(void) {
    real = (clock_gettime_fn)dlsym(RTLD_NEXT, "clock_gettime");
    const char *seconds = getenv("TRUNKLINE_AHEAD_SECONDS");
    ahead = seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real)
        begin();
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME)
        time->tv_sec += ahead;
    return result;
}
