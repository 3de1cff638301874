/* Gives a program that is started with LD_PRELOAD of this a wall clock that is wrong by as many
 * nanoseconds as the file $WRONG_CLOCK says (an int64_t), from moment to moment.  libfaketime would
 * do, but does not start with jemalloc, which asks for the time before libfaketime is ready. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

static const volatile int64_t *wrong_by_ns;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("WRONG_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *wrong_by_ns, PROT_READ, MAP_SHARED, fd, 0);

    if (mapped == MAP_FAILED)
        abort();
    wrong_by_ns = mapped;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, time);

    if (failed == 0 && wrong_by_ns != NULL &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = time->tv_sec * NS_PER_S + time->tv_nsec + *wrong_by_ns;

        time->tv_sec = ns / NS_PER_S;
        time->tv_nsec = ns % NS_PER_S;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *also)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (also != NULL)
        *also = now.tv_sec;
    return now.tv_sec;
}
