// token.h: how threads of which exactly one runs at a time hand the turn on: a word that one sleeps on and another
// changes. Used by the threads of execute_threads.c and of schedule.c.
#ifndef HEAPARENA_FUZZ_TOKEN_H
#define HEAPARENA_FUZZ_TOKEN_H

#include <stdatomic.h>
#include <stdint.h>

// Sleeps while the word has the value. What was written before fuzz_token_set is visible afterwards.
void fuzz_token_wait_while(_Atomic uint32_t *word, uint32_t value);

// Changes the word and wakes all who sleep on it. Any thread.
void fuzz_token_set(_Atomic uint32_t *word, uint32_t value);

// Binds the process to the processor it is on, because threads that take turns are fastest on one; every so many calls
// it may move to another. Does nothing where the kernel forbids it. For one thread at a time.
void fuzz_token_stay_on_processor(void);

#endif
