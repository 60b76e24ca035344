/* Loaded into a server (LD_PRELOAD) by benches/peers/run --only floor: lines of the log are said to be written
 * and are not, so that a second run tells what writing them takes. All else is written. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char line[] = "{\"timestamp\"";

ssize_t write(int descriptor, const void *bytes, size_t count) {
    if (count >= sizeof line && memcmp(bytes, line, sizeof line - 1) == 0)
        return (ssize_t)count;
    return syscall(SYS_write, descriptor, bytes, count);
}
