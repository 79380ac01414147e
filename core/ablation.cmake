# libgomalloc.so with one level left out (levels.h), one library for each: what `heaparena run --ablate` enters beside
# gomalloc. Only the files that a switch touches are compiled again; all else are the objects of the library itself.
#   core_add_ablation(no-mcache GM_LEVEL_MCACHE mcache_thread.c)  ->  lib/ablation/libgomalloc-no-mcache.so
function(core_add_ablation name switch)
  set(target gomalloc_${name})
  list(TRANSFORM ARGN REPLACE "\\." "[.]" OUTPUT_VARIABLE patterns)
  list(TRANSFORM patterns APPEND "[.]o")
  list(TRANSFORM patterns PREPEND "/")
  list(JOIN patterns "|" pattern)
  add_library(${target} SHARED ${ARGN})
  target_link_libraries(${target} PRIVATE heaparena_options Threads::Threads
                        "$<FILTER:$<TARGET_OBJECTS:gomalloc>,EXCLUDE,(${pattern})$>")
  add_dependencies(${target} gomalloc)
  target_compile_definitions(${target} PRIVATE ${switch}=0)
  foreach(property COMPILE_OPTIONS LINK_OPTIONS LINK_DEPENDS INTERPROCEDURAL_OPTIMIZATION)
    get_target_property(value gomalloc ${property})
    if(value)
      set_target_properties(${target} PROPERTIES ${property} "${value}")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES OUTPUT_NAME gomalloc-${name}
                        LIBRARY_OUTPUT_DIRECTORY "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/ablation")
  # Laid out as in the build folder, for the installed command.
  install(TARGETS ${target} LIBRARY DESTINATION lib/heaparena/lib/ablation)
  set_property(GLOBAL APPEND PROPERTY gomalloc_ablations ${name})
endfunction()

# The level is really gone: `heaparena-explain SIZE` of the whole allocator prints the word, that of the other does not.
function(core_add_ablation_test name switch size word)
  add_executable(core_explain_${name} explain.c ${ARGN})
  target_link_libraries(core_explain_${name} PRIVATE gomalloc_static)
  target_compile_options(core_explain_${name} PRIVATE ${core_options})
  target_compile_definitions(core_explain_${name} PRIVATE ${switch}=0)
  add_test(NAME core_ablation_${name}
           COMMAND sh -c "\"$1\" $3 | grep -q \"$4\" && \"$2\" $3 >out.$$ && ! grep \"$4\" out.$$; status=$?; rm -f out.$$; exit $status"
                   sh $<TARGET_FILE:heaparena-explain> $<TARGET_FILE:core_explain_${name}> ${size} ${word})
  set_tests_properties(core_ablation_${name} PROPERTIES LABELS "unit;core" TIMEOUT 60)
endfunction()

core_add_ablation(no-tiny GM_LEVEL_TINY malloc.c preload.c operator_new.c)
core_add_ablation(no-stack GM_LEVEL_STACK mcache.c)
core_add_ablation(no-mcache GM_LEVEL_MCACHE mcache_thread.c)
core_add_ablation(no-large-cache GM_LEVEL_LARGE_CACHE mcache_large.c)
core_add_ablation(no-mcentral GM_LEVEL_MCENTRAL mcentral.c)
core_add_ablation(no-page-cache GM_LEVEL_PAGE_CACHE page_cache.c)

core_add_ablation_test(no-tiny GM_LEVEL_TINY 8 "object_size.: 8," malloc.c)
core_add_ablation_test(no-stack GM_LEVEL_STACK 100 "stack.:" mcache.c)
core_add_ablation_test(no-mcache GM_LEVEL_MCACHE 100 "alloc_cache.:" mcache_thread.c)
core_add_ablation_test(no-large-cache GM_LEVEL_LARGE_CACHE 40000 "large-cache.:" mcache_large.c)
core_add_ablation_test(no-mcentral GM_LEVEL_MCENTRAL 100 "mcentral.:" mcentral.c)
core_add_ablation_test(no-page-cache GM_LEVEL_PAGE_CACHE 300000 "page-cache.:" page_cache.c)
