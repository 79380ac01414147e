// When the heap asks for huge pages. See huge_pages.h.
#include "core/huge_pages.h"

#include "core/options.h"
#include "core/page_alloc.h"
#include "core/sys_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

// The range that asks at the moment.
static uintptr_t newest;
static size_t newest_size;

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

void huge_pages_note_release(void) {
  if (newest_size == 0 || !page_alloc_is_scavenged(newest, newest_size >> GM_PAGE_SHIFT))
    return;
  sys_no_huge_page(newest, newest_size);
  sys_drop_huge_page(newest, newest_size);
  newest_size = 0;
}

void huge_pages_note_growth(uintptr_t start, size_t size, size_t in_use) {
  if (in_use < gm_option_get(&gm_options.huge_pages) || !system_gives_on_request())
    return;
  // In this order the kernel joins the ranges to two mappings; in the other it would keep one for each.
  sys_huge_page(start, size);
  if (newest_size != 0)
    sys_no_huge_page(newest, newest_size);
  newest = start;
  newest_size = size;
}
