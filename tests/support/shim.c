// Faults of a disk and a clock, for tests: a library that is loaded before libc.
//
// RINGBACK_SHIM names a directory. Its file `fault` has a word: `eio` (writes fail), `fsync` (syncing fails),
// `short` (a write takes a byte, or half of what it is given). Its file `clock` has seconds that are added to
// the time of day. Only descriptors of regular files below RINGBACK_SHIM_BELOW are touched.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long said(const char *name, char *text, size_t size)
{
    const char *directory = getenv("RINGBACK_SHIM");
    char path[PATH_MAX];
    text[0] = 0;
    if (!directory)
        return 0;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int before = errno;
    long handle = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (handle < 0) {
        errno = before;
        return 0;
    }
    long got = syscall(SYS_read, handle, text, size - 1);
    syscall(SYS_close, handle);
    errno = before;
    text[got < 0 ? 0 : got] = 0;
    return got;
}

static int hit(int handle, const char *word)
{
    char text[32], link[64], path[PATH_MAX];
    const char *below = getenv("RINGBACK_SHIM_BELOW");
    if (!below || said("fault", text, sizeof text) <= 0 || strcmp(text, word))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return 0;
    path[size] = 0;
    return strncmp(path, below, strlen(below)) == 0;
}

ssize_t write(int handle, const void *data, size_t size)
{
    if (size && hit(handle, "eio")) {
        errno = EIO;
        return -1;
    }
    if (size > 1 && hit(handle, "short"))
        size = size % 3 ? size / 2 : 1;
    return syscall(SYS_write, handle, data, size);
}

ssize_t writev(int handle, const struct iovec *parts, int count)
{
    if (count && hit(handle, "eio")) {
        errno = EIO;
        return -1;
    }
    if (count && parts[0].iov_len > 1 && hit(handle, "short"))
        return syscall(SYS_write, handle, parts[0].iov_base, parts[0].iov_len / 2);
    return syscall(SYS_writev, handle, parts, count);
}

int fsync(int handle)
{
    if (hit(handle, "fsync")) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fsync, handle);
}

int fdatasync(int handle)
{
    if (hit(handle, "fsync")) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fdatasync, handle);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    static int (*own)(clockid_t, struct timespec *);
    char text[32];
    if (!own)
        own = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = own(which, now);
    if (!done && which == CLOCK_REALTIME && said("clock", text, sizeof text) > 0)
        now->tv_sec += atol(text);
    return done;
}
