/* Stands between a process and the C library (LD_PRELOAD), counts the calls that decide what
 * survives a crash, and at the Nth of them kills the process or makes the call fail.
 *
 *   SHIM_PAGE    a file of at least 4096 bytes, shared with the test: the counters, live
 *   SHIM_UNDER   count only files and folders under this path; absolute, no trailing slash
 *   SHIM_CLASS   which calls count towards SHIM_AT: sync, write, length, name, any (default sync)
 *   SHIM_AT      the number of the call that is hit, from 1; 0 for none
 *   SHIM_DO      kill (default), EIO or ENOSPC
 *   SHIM_FOREVER when set, every later call of the class is hit too
 *
 * The page holds 64-bit numbers: the counts of sync, write, length and name, then the count of the
 * watched class, then the number that is hit, which the test may change at any time. Counters are
 * per process and safe for threads. The kill comes before the call: it did not happen.
 *
 * What it cannot see: calls that are made without the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum class { SYNC, WRITE, LENGTH, NAME, CLASSES, WATCHED = CLASSES, AT, SLOTS };

static _Atomic uint64_t own_page[SLOTS];
static _Atomic uint64_t *page = own_page;
static char under[4096];
static size_t under_len;
static int watched = SYNC; /* CLASSES means any */
static int error_number;   /* 0 means kill */
static int forever;

__attribute__((constructor)) static void start(void) {
  const char *text = getenv("SHIM_PAGE");
  if (text) {
    int fd = open(text, O_RDWR | O_CLOEXEC);
    void *shared =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
      perror("shim: SHIM_PAGE");
      _exit(99);
    }
    close(fd);
    page = shared;
  }
  if ((text = getenv("SHIM_UNDER")) && strlen(text) < sizeof under) {
    strcpy(under, text);
    under_len = strlen(text);
  }
  if ((text = getenv("SHIM_CLASS"))) {
    static const char *const names[] = {"sync", "write", "length", "name", "any"};
    watched = -1;
    for (int at = 0; at <= CLASSES; at++)
      if (!strcmp(text, names[at])) watched = at;
    if (watched < 0) {
      fprintf(stderr, "shim: SHIM_CLASS=%s is none\n", text);
      _exit(99);
    }
  }
  if ((text = getenv("SHIM_DO"))) {
    if (!strcmp(text, "EIO")) error_number = EIO;
    else if (!strcmp(text, "ENOSPC")) error_number = ENOSPC;
    else if (strcmp(text, "kill")) {
      fprintf(stderr, "shim: SHIM_DO=%s is none\n", text);
      _exit(99);
    }
  }
  if ((text = getenv("SHIM_AT"))) atomic_store(&page[AT], strtoull(text, NULL, 10));
  forever = getenv("SHIM_FOREVER") != NULL;
}

/* Counts one call. Answers whether it is to fail, with errno set. */
static int hit(enum class class) {
  atomic_fetch_add(&page[class], 1);
  if (watched != CLASSES && watched != (int)class) return 0;
  uint64_t number = atomic_fetch_add(&page[WATCHED], 1) + 1;
  uint64_t at = atomic_load(&page[AT]);
  if (at == 0 || number < at || (number > at && !forever)) return 0;
  if (error_number == 0) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  errno = error_number;
  return 1;
}

static int is_under(const char *path) {
  if (under_len == 0) return 1;
  return !strncmp(path, under, under_len) &&
         (path[under_len] == '/' || path[under_len] == 0);
}

/* Whether the name of an open file lies under the path. */
static int fd_is_under(int fd) {
  char link[64], path[4096];
  if (under_len == 0) return 1;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0) return 0;
  path[len] = 0;
  return is_under(path);
}

static int is_file(int fd) {
  struct stat stat;
  int saved = errno;
  int yes = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && fd_is_under(fd);
  errno = saved;
  return yes;
}

static int name_hit(int folder, const char *path) {
  char full[8192], link[64], base[4096];
  if (under_len == 0 || path[0] == '/') return is_under(path) && hit(NAME);
  snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
  ssize_t len = readlink(link, base, sizeof base - 1);
  if (len < 0) return 0;
  base[len] = 0;
  snprintf(full, sizeof full, "%s/%s", base, path);
  return is_under(full) && hit(NAME);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRAP(result, name, params, args, condition) \
  result name params { \
    REAL(name); \
    if (condition) return -1; \
    return real args; \
  }

WRAP(int, fsync, (int fd), (fd), fd_is_under(fd) && hit(SYNC))
WRAP(int, fdatasync, (int fd), (fd), fd_is_under(fd) && hit(SYNC))
WRAP(int, ftruncate, (int fd, off_t len), (fd, len), fd_is_under(fd) && hit(LENGTH))
WRAP(int, ftruncate64, (int fd, off64_t len), (fd, len), fd_is_under(fd) && hit(LENGTH))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len),
     fd_is_under(fd) && hit(LENGTH))
WRAP(int, fallocate64, (int fd, int mode, off64_t at, off64_t len), (fd, mode, at, len),
     fd_is_under(fd) && hit(LENGTH))
WRAP(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len),
     is_file(fd) && hit(WRITE))
WRAP(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count),
     is_file(fd) && hit(WRITE))
WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at),
     is_file(fd) && hit(WRITE))
WRAP(ssize_t, pwrite64, (int fd, const void *bytes, size_t len, off64_t at), (fd, bytes, len, at),
     is_file(fd) && hit(WRITE))
WRAP(int, rename, (const char *from, const char *to), (from, to), name_hit(AT_FDCWD, to))
WRAP(int, renameat, (int from_folder, const char *from, int folder, const char *to),
     (from_folder, from, folder, to), name_hit(folder, to))
WRAP(int, renameat2,
     (int from_folder, const char *from, int folder, const char *to, unsigned flags),
     (from_folder, from, folder, to, flags), name_hit(folder, to))
WRAP(int, link, (const char *from, const char *to), (from, to), name_hit(AT_FDCWD, to))
WRAP(int, linkat, (int from_folder, const char *from, int folder, const char *to, int flags),
     (from_folder, from, folder, to, flags), name_hit(folder, to))
WRAP(int, unlink, (const char *path), (path), name_hit(AT_FDCWD, path))
WRAP(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags),
     name_hit(folder, path))
