# The target `schedule`: gomalloc with yield points, as a library of its own that heaparena-fuzz opens.
#
#   gomalloc_points      core/'s sources, compiled as for ThreadSanitizer, with the assertions of debug builds
#   heaparena-schedule   the library: those, and the runtime behind their instrumentation (schedule_points.c)
#
# ha_add_schedule_library(<target> [changed sources of core...]) makes such a library, where files given take the place
# of core/'s own: mutants/schedule.cmake plants faults with it.
set(schedule_options -fsanitize=thread -DPAGE_CACHE_SHARDS=2 -DSPAN_KEEP_ALWAYS -UNDEBUG -O2 -g1 -ftls-model=initial-exec -fno-semantic-interposition)
get_target_property(schedule_core gomalloc_static SOURCES)
list(TRANSFORM schedule_core PREPEND "${PROJECT_SOURCE_DIR}/core/")
add_library(gomalloc_points STATIC ${schedule_core})
target_link_libraries(gomalloc_points PUBLIC heaparena_options Threads::Threads)
target_compile_options(gomalloc_points PRIVATE ${schedule_options})
add_library(heaparena_schedule_points OBJECT ${CMAKE_CURRENT_LIST_DIR}/schedule_points.c)
target_link_libraries(heaparena_schedule_points PRIVATE heaparena_options)

function(ha_add_schedule_library name)
  add_library(${name} SHARED $<TARGET_OBJECTS:heaparena_schedule_points> ${ARGN})
  target_compile_options(${name} PRIVATE ${schedule_options})
  # --undefined: what the fuzzer looks up comes out of the archive, and with it all else.
  target_link_libraries(${name} PRIVATE heaparena_options gomalloc_points Threads::Threads)
  target_link_options(${name} PRIVATE LINKER:--undefined=gm_malloc,--undefined=gm_check_heap,--undefined=gm_stats_read,--undefined=gm_version
                                      LINKER:--wrap=syscall,--wrap=pthread_create,--wrap=clock_gettime,--wrap=nanosleep LINKER:-Bsymbolic LINKER:-z,now LINKER:--no-undefined)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
endfunction()

ha_add_schedule_library(heaparena-schedule)
