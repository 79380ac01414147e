// When the heap asks for huge pages. See huge_pages.h.
#include "core/huge_pages.h"

#include "core/options.h"
#include "core/page_alloc.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

uint64_t huge_pages_dear = HUGE_PAGES_DEAR;

// The chunk that asked last, and whether it still does.
static uintptr_t newest;
static bool asking;

// Bytes in spans before the next one may ask: raised when a huge page was dear.
static size_t wait_for;

bool huge_pages_on_request(const char *text) {
  return strstr(text, "[madvise]") != NULL;
}

// The system's setting, read when the heap first is large enough.
static bool system_gives_on_request(void) {
  static enum { UNKNOWN, NO, YES } known = UNKNOWN;
  if (known != UNKNOWN)
    return known == YES;
  int saved_errno = errno;
  char text[64] = "";
  int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    ssize_t length = read(file, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    (void)close(file);
  }
  errno = saved_errno;
  known = huge_pages_on_request(text) ? YES : NO;
  return known == YES;
}

static void withdraw(void) {
  if (asking)
    sys_no_huge_page(newest, CHUNK_SIZE);
  asking = false;
}

void huge_pages_note_release(void) {
  if (newest == 0 || !page_alloc_drop_scavenged(newest))
    return;
  withdraw();
  newest = 0;
}

void huge_pages_note_growth(uintptr_t chunk, size_t in_use) {
  if (in_use < gm_option_get(&gm_options.huge_pages) || in_use < wait_for || !system_gives_on_request())
    return;
  // In this order the kernel joins the ranges to two mappings; in the other it would keep one for each.
  sys_huge_page(chunk, CHUNK_SIZE);
  withdraw();
  newest = chunk;
  asking = true;
  if (sys_touch(chunk) > huge_pages_dear) {
    withdraw();
    wait_for = in_use * 4;
  }
}
