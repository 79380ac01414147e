// What happens once per process. See startup.c.
#ifndef GOMALLOC_STARTUP_H
#define GOMALLOC_STARTUP_H

// Reads the options, installs the fork handlers. Called by malloc.c's constructor, so that every program that
// links the static library has it.
void startup_process(void);

#endif
