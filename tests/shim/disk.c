/* A disk that fails on command and remembers what was synced: preloaded below the real SQLite.
 *
 *   gateway ── libc calls ──► this ── the same calls, unless a fault is due ──► kernel
 *                              │  ▲
 *                              ▼  └ TRUNKLINE_DISK_CONTROL: the faults, a mapped file
 *             TRUNKLINE_DISK_LOG: every write with its data, every sync, every name made or removed
 *
 * Only paths below TRUNKLINE_DISK_DIR are looked at. tests/harness/disk.rs writes the control file and
 * tests/harness/powercut.rs reads the log; both know the layouts below.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

/* The control file: numbers of 32 bits in the machine's order, then the name. */
struct control {
    volatile int32_t write_errno; /* writes fail with it; 0: they do not */
    volatile int32_t sync_errno;  /* syncs */
    volatile int32_t open_errno;  /* opens that would create a file */
    volatile int32_t no_room;     /* statvfs tells of no free block */
    volatile int32_t short_writes; /* a failing write writes its first half before it fails */
    volatile int32_t hits;        /* faults so far: counted here, read by the test */
    volatile int32_t read_errno;  /* reads */
    volatile int32_t unused[9];
    volatile char name[64]; /* only files whose name holds this; empty: all */
};

/* The log: this header, the name, the data. */
struct record {
    uint32_t kind;
    uint32_t name_len;
    uint64_t handle;
    uint64_t offset;
    uint64_t data_len;
};

enum { OPENED = 1, CREATED, WROTE, TRUNCATED, SYNC_BEGAN, SYNC_ENDED, UNLINKED, RENAMED, SYNC_FAILED };

#define FDS 65536
#define NAME_MAX_LEN 256

struct slot {
    uint64_t handle; /* 0: not ours */
    char name[NAME_MAX_LEN];
};

static struct slot *slots[FDS];
static char directory[4096];
static size_t directory_len;
static struct control *control;
static int log_fd = -1;
static uint64_t handles;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                                   \
    static type (*real)(__VA_ARGS__);                                           \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t real_write(int fd, const void *data, size_t len) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, len);
}

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    return real(path, flags, mode);
}

__attribute__((constructor)) static void start(void) {
    const char *dir = getenv("TRUNKLINE_DISK_DIR");
    const char *faults = getenv("TRUNKLINE_DISK_CONTROL");
    const char *log = getenv("TRUNKLINE_DISK_LOG");
    if (!dir || strlen(dir) >= sizeof directory) return;
    if (faults) {
        int fd = real_open(faults, O_RDWR | O_CLOEXEC, 0);
        void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd < 0 || at == MAP_FAILED) {
            fprintf(stderr, "disk shim: %s: %s\n", faults, strerror(errno));
            _exit(99);
        }
        control = at;
    }
    if (log) {
        log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) {
            fprintf(stderr, "disk shim: %s: %s\n", log, strerror(errno));
            _exit(99);
        }
    }
    strcpy(directory, dir);
    directory_len = strlen(dir);
}

/* The name below the directory, "." for the directory itself, NULL for what is elsewhere. */
static const char *below(const char *path) {
    if (!directory_len || !path || strncmp(path, directory, directory_len) != 0) return NULL;
    const char *rest = path + directory_len;
    while (*rest == '/') rest++;
    if (!*rest) return ".";
    if (path[directory_len] != '/' || strlen(rest) >= NAME_MAX_LEN) return NULL;
    return rest;
}

static struct slot *slot_of(int fd) {
    if (fd < 0 || fd >= FDS) return NULL;
    struct slot *slot = __atomic_load_n(&slots[fd], __ATOMIC_ACQUIRE);
    return slot && slot->handle ? slot : NULL;
}

static void log_all(const void *data, size_t len) {
    while (len > 0) {
        ssize_t wrote = real_write(log_fd, data, len);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            fprintf(stderr, "disk shim: the log cannot be written: %s\n", strerror(errno));
            _exit(99);
        }
        data = (const char *)data + wrote;
        len -= (size_t)wrote;
    }
}

static void record(uint32_t kind, const char *name, uint64_t handle, uint64_t offset,
                   const struct iovec *data, int count) {
    if (log_fd < 0) return;
    int before = errno;
    struct record head = {kind, name ? (uint32_t)strlen(name) : 0, handle, offset, 0};
    for (int i = 0; i < count; i++) head.data_len += data[i].iov_len;
    pthread_mutex_lock(&lock);
    log_all(&head, sizeof head);
    if (name) log_all(name, head.name_len);
    for (int i = 0; i < count; i++) log_all(data[i].iov_base, data[i].iov_len);
    pthread_mutex_unlock(&lock);
    errno = before;
}

/* Whether a fault is due for a file; sets errno. The wal-index holds nothing that lasts. */
static int fault(volatile int32_t *which, const char *name) {
    if (!control || !*which) return 0;
    char wanted[sizeof control->name];
    for (size_t i = 0; i < sizeof wanted; i++) wanted[i] = control->name[i];
    wanted[sizeof wanted - 1] = 0;
    if (*wanted && !strstr(name, wanted)) return 0;
    __atomic_add_fetch((int32_t *)&control->hits, 1, __ATOMIC_ACQ_REL);
    errno = *which;
    return errno != 0;
}

static int opened(int (*open_it)(int, const char *, int, mode_t), int at, const char *path,
                  int flags, mode_t mode) {
    const char *name = below(path);
    int created = 0;
    if (name) {
        struct stat seen;
        created = (flags & O_CREAT) && stat(path, &seen) != 0;
        if (created && control && fault(&control->open_errno, name)) return -1;
    }
    int fd = open_it(at, path, flags, mode);
    if (fd < 0 || fd >= FDS || !name) return fd;
    struct slot *slot = slots[fd];
    if (!slot) slot = calloc(1, sizeof *slot);
    if (!slot) _exit(99);
    strcpy(slot->name, name);
    slot->handle = __atomic_add_fetch(&handles, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&slots[fd], slot, __ATOMIC_RELEASE);
    record(created ? CREATED : OPENED, name, slot->handle, 0, NULL, 0);
    if (flags & O_TRUNC) record(TRUNCATED, NULL, slot->handle, 0, NULL, 0);
    return fd;
}

static int plain_open(int at, const char *path, int flags, mode_t mode) {
    (void)at;
    return real_open(path, flags, mode);
}

static int relative_open(int at, const char *path, int flags, mode_t mode) {
    REAL(int, "openat64", int, const char *, int, ...);
    return real(at, path, flags, mode);
}

#define MODE_OF(flags)                                                          \
    mode_t mode = 0;                                                            \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                      \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode = va_arg(rest, mode_t);                                            \
        va_end(rest);                                                           \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened(plain_open, -1, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened(plain_open, -1, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened(relative_open, at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened(relative_open, at, path, flags, mode);
}

int close(int fd) {
    REAL(int, "close", int);
    struct slot *slot = slot_of(fd);
    if (slot) slot->handle = 0;
    return real(fd);
}

/* How much of a write goes through: all of it, its first half, or nothing (-1). */
static ssize_t allowed(struct slot *slot, size_t len) {
    if (!control || !fault(&control->write_errno, slot->name)) return (ssize_t)len;
    return control->short_writes && len > 1 ? (ssize_t)(len / 2) : -1;
}

ssize_t write(int fd, const void *data, size_t len) {
    struct slot *slot = slot_of(fd);
    if (!slot) return real_write(fd, data, len);
    ssize_t may = allowed(slot, len);
    if (may < 0) return -1;
    struct iovec one = {(void *)data, (size_t)may};
    record(WROTE, NULL, slot->handle, (uint64_t)lseek(fd, 0, SEEK_CUR), &one, 1);
    return real_write(fd, data, (size_t)may);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    struct slot *slot = slot_of(fd);
    if (!slot) return real(fd, data, len, offset);
    ssize_t may = allowed(slot, len);
    if (may < 0) return -1;
    struct iovec one = {(void *)data, (size_t)may};
    record(WROTE, NULL, slot->handle, (uint64_t)offset, &one, 1);
    return real(fd, data, (size_t)may, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) {
    return pwrite64(fd, data, len, offset);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    struct slot *slot = slot_of(fd);
    if (!slot) return real(fd, data, count);
    if (allowed(slot, 1) < 0) return -1;
    record(WROTE, NULL, slot->handle, (uint64_t)lseek(fd, 0, SEEK_CUR), data, count);
    return real(fd, data, count);
}

static int read_fault(int fd) {
    struct slot *slot = slot_of(fd);
    return slot && control && fault(&control->read_errno, slot->name);
}

ssize_t read(int fd, void *data, size_t len) {
    REAL(ssize_t, "read", int, void *, size_t);
    return read_fault(fd) ? -1 : real(fd, data, len);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    return read_fault(fd) ? -1 : real(fd, data, len, offset);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset) {
    return pread64(fd, data, len, offset);
}

int ftruncate64(int fd, off64_t len) {
    REAL(int, "ftruncate64", int, off64_t);
    struct slot *slot = slot_of(fd);
    if (slot) {
        struct stat seen;
        int grows = fstat(fd, &seen) == 0 && len > seen.st_size;
        if (grows && control && fault(&control->write_errno, slot->name)) return -1;
        record(TRUNCATED, NULL, slot->handle, (uint64_t)len, NULL, 0);
    }
    return real(fd, len);
}

int ftruncate(int fd, off_t len) {
    return ftruncate64(fd, len);
}

static int synced(int (*real)(int), int fd) {
    struct slot *slot = slot_of(fd);
    if (!slot) return real(fd);
    if (control && fault(&control->sync_errno, slot->name)) {
        record(SYNC_FAILED, NULL, slot->handle, 0, NULL, 0);
        return -1;
    }
    uint64_t handle = slot->handle;
    record(SYNC_BEGAN, NULL, handle, 0, NULL, 0);
    /* The log is the disk here: what the real one would do takes time and proves nothing. */
    int done = log_fd < 0 ? real(fd) : 0;
    if (done == 0) record(SYNC_ENDED, NULL, handle, 0, NULL, 0);
    return done;
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return synced(real, fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return synced(real, fd);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    const char *name = below(path);
    int done = real(path);
    if (name && done == 0) record(UNLINKED, name, 0, 0, NULL, 0);
    return done;
}

int unlinkat(int at, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    const char *name = below(path);
    int done = real(at, path, flags);
    if (name && done == 0) record(UNLINKED, name, 0, 0, NULL, 0);
    return done;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    const char *old = below(from), *new = below(to);
    int done = real(from, to);
    if (done == 0 && old && new) {
        struct iovec target = {(void *)new, strlen(new)};
        record(RENAMED, old, 0, 0, &target, 1);
    }
    return done;
}

static int no_room(void) {
    if (!control || !control->no_room) return 0;
    __atomic_add_fetch((int32_t *)&control->hits, 1, __ATOMIC_ACQ_REL);
    return 1;
}

int statvfs64(const char *path, struct statvfs64 *into) {
    REAL(int, "statvfs64", const char *, struct statvfs64 *);
    int done = real(path, into);
    if (done == 0 && below(path) && no_room()) into->f_bavail = into->f_bfree = 0;
    return done;
}

int statvfs(const char *path, struct statvfs *into) {
    REAL(int, "statvfs", const char *, struct statvfs *);
    int done = real(path, into);
    if (done == 0 && below(path) && no_room()) into->f_bavail = into->f_bfree = 0;
    return done;
}

int fstatvfs64(int fd, struct statvfs64 *into) {
    REAL(int, "fstatvfs64", int, struct statvfs64 *);
    int done = real(fd, into);
    if (done == 0 && slot_of(fd) && no_room()) into->f_bavail = into->f_bfree = 0;
    return done;
}

int fstatvfs(int fd, struct statvfs *into) {
    REAL(int, "fstatvfs", int, struct statvfs *);
    int done = real(fd, into);
    if (done == 0 && slot_of(fd) && no_room()) into->f_bavail = into->f_bfree = 0;
    return done;
}
