// fork in a program with threads. See fork.c.
#ifndef GOMALLOC_FORK_H
#define GOMALLOC_FORK_H

// Registers the handlers; once per process.
void fork_install_handlers(void);

#endif
