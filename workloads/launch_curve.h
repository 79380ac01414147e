// launch_curve.h: the resident size of a program and its children over time, for heaparena-launch.
#ifndef HEAPARENA_WORKLOADS_LAUNCH_CURVE_H
#define HEAPARENA_WORKLOADS_LAUNCH_CURVE_H

#include <stddef.h>
#include <sys/types.h>

enum { LAUNCH_CURVE_POINTS = 2048 };

typedef struct launch_point {
  double seconds; // since the start
  size_t rss;     // bytes
} launch_point;

// At most LAUNCH_CURVE_POINTS points. When it is full, neighbours are joined (the higher one stays) and the
// stride doubles, so that a run of any length has a curve of bounded size that keeps its peak.
typedef struct launch_curve {
  int count;
  int stride; // every how many intervals a point should be taken; starts at 1
  launch_point points[LAUNCH_CURVE_POINTS];
} launch_curve;

// Appends a point; points must come in the order of time.
void launch_curve_add(launch_curve *curve, double seconds, size_t rss);

// Up to `most` child processes of a process, those of all its threads; returns how many there are in `children`.
// 0 if the process is gone or the system does not list children (CONFIG_PROC_CHILDREN).
int launch_children(pid_t process, pid_t *children, int most);

// The resident bytes of a process and of all that descend from it, added up: pages that they share count
// more than once. Processes that end meanwhile count 0. At most 256 processes are visited.
size_t launch_tree_rss(pid_t process);

#endif
