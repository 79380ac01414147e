// launch_curve.c: see launch_curve.h.
#include "workloads/launch_curve.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_PROCESSES = 256 };

void launch_curve_add(launch_curve *curve, double seconds, size_t rss) {
  if (curve->count == LAUNCH_CURVE_POINTS) {
    for (int i = 0; i < LAUNCH_CURVE_POINTS / 2; i++) {
      const launch_point *pair = curve->points + (size_t)2 * (size_t)i;
      curve->points[i] = pair[0].rss >= pair[1].rss ? pair[0] : pair[1];
    }
    curve->count /= 2;
    curve->stride *= 2;
  }
  curve->points[curve->count++] = (launch_point){seconds, rss};
}

// The children that one thread started.
static int children_of_thread(pid_t process, const char *thread, pid_t *children, int most) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", process, thread);
  FILE *file = fopen(path, "re");
  if (!file)
    return 0;
  int count = 0;
  while (count < most && fscanf(file, "%d", &children[count]) == 1)
    count++;
  fclose(file);
  return count;
}

int launch_children(pid_t process, pid_t *children, int most) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", process);
  DIR *folder = opendir(path);
  if (!folder)
    return 0;
  int count = 0;
  for (struct dirent *entry = readdir(folder); entry && count < most; entry = readdir(folder))
    if (entry->d_name[0] != '.')
      count += children_of_thread(process, entry->d_name, children + count, most - count);
  closedir(folder);
  return count;
}

static size_t rss_of(pid_t process) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/statm", process);
  FILE *file = fopen(path, "re");
  if (!file)
    return 0;
  size_t size, resident = 0;
  if (fscanf(file, "%zu %zu", &size, &resident) != 2)
    resident = 0;
  fclose(file);
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}

size_t launch_tree_rss(pid_t process) {
  pid_t found[MOST_PROCESSES] = {process};
  int count = 1;
  size_t sum = 0;
  for (int i = 0; i < count; i++) {
    sum += rss_of(found[i]);
    count += launch_children(found[i], found + count, MOST_PROCESSES - count);
  }
  return sum;
}
