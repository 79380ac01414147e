// races_seen.h: for tests: whether ThreadSanitizer watches. It sees the races that the null allocator's single block is
// made of; nothing is to be learnt from them.
#ifndef HEAPARENA_WORKLOADS_RACES_SEEN_H
#define HEAPARENA_WORKLOADS_RACES_SEEN_H

#if defined(__SANITIZE_THREAD__)
#define RACES_ARE_SEEN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACES_ARE_SEEN true
#endif
#endif
#ifndef RACES_ARE_SEEN
#define RACES_ARE_SEEN false
#endif

#endif
