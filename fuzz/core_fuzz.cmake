# The target `core`: the parts of gomalloc's core, white box, each against a naive model (core_fuzz.h). It has its own build
# of the core: with the record of address-space states and all assertions of a debug build, and with its variables in
# two sections, so that each input gets a core that never ran (core_fuzz_world.h).
get_target_property(core_sources gomalloc_static SOURCES)
get_target_property(core_folder gomalloc_static SOURCE_DIR)
get_target_property(core_options gomalloc_static COMPILE_OPTIONS)
list(TRANSFORM core_sources PREPEND "${core_folder}/")
add_library(core_fuzzed STATIC ${core_sources})
target_link_libraries(core_fuzzed PUBLIC heaparena_options Threads::Threads)
target_compile_options(core_fuzzed PRIVATE ${core_options} -UNDEBUG -include ${CMAKE_CURRENT_LIST_DIR}/core_fuzz_section.h)
# core_world_on_discard and its like see what the core asks of the system.
target_link_options(core_fuzzed INTERFACE
  LINKER:--wrap=mmap,--wrap=mprotect,--wrap=munmap,--wrap=madvise,--wrap=clock_gettime,--wrap=nanosleep
  LINKER:--wrap=getrlimit,--wrap=syscall,--wrap=pthread_create,--wrap=gm_fatal)

set(core_fuzz_sources core_fuzz_arenas.c core_fuzz_bits.c core_fuzz_classes.c core_fuzz_fixed.c core_fuzz_heap.c
  core_fuzz_pages.c core_fuzz_scavenge.c core_fuzz_spans.c core_fuzz_states.c core_fuzz_world.c)
list(TRANSFORM core_fuzz_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
ha_add_fuzz_target(core RUNS 8000 SOURCES ${CMAKE_CURRENT_LIST_DIR}/core_fuzz.c ${core_fuzz_sources} LIBS core_fuzzed)
# The models compare much and tell little: following their comparisons cost two thirds of the time.
target_compile_options(core_fuzz PRIVATE -UNDEBUG -fno-sanitize-coverage=trace-cmp)

# Faults in the parts, each killed by the component that looks at it.
if(HEAPARENA_FUZZ_ENGINE STREQUAL "-fsanitize=fuzzer")
  ha_add_mutants(${CMAKE_CURRENT_LIST_DIR}/mutants/core.txt LIBRARY core_fuzzed
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/mutants/core_mutant.c ${CMAKE_CURRENT_LIST_DIR}/core_fuzz.c ${core_fuzz_sources})
  target_compile_options(fuzz_mutants_core_runner PRIVATE -UNDEBUG)
endif()
