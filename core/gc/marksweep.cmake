# The mark-sweep collector: gomalloc_gc has the C API gm_gc_* (gm_gc.h), heaparena_gc_marksweep puts it behind the
# collectors' table.
set(marksweep_sources
  gm_gc.c marksweep_alloc.c marksweep_check.c marksweep_cycle.c marksweep_helpers.c marksweep_kind.c marksweep_mark.c
  marksweep_packets.c marksweep_roots.c marksweep_span.c marksweep_stats.c marksweep_sweep.c marksweep_world.c)

add_library(gomalloc_gc STATIC ${marksweep_sources})
target_link_libraries(gomalloc_gc PUBLIC gomalloc_static heaparena_options Threads::Threads)
target_compile_options(gomalloc_gc PRIVATE ${core_options})

add_library(heaparena_gc_marksweep STATIC marksweep.c)
target_link_libraries(heaparena_gc_marksweep PUBLIC heaparena_gc gomalloc_gc)

add_executable(gc_marksweep_conformance_test marksweep_conformance_test.c conformance.c graph_test.c large_graph_test.c)
target_compile_definitions(gc_marksweep_conformance_test PRIVATE GC_MUTATOR_CONSERVATIVE=1)
target_link_libraries(gc_marksweep_conformance_test PRIVATE heaparena_gc_marksweep PkgConfig::CMOCKA)
add_test(NAME gc_conformance_marksweep COMMAND gc_marksweep_conformance_test)
add_test(NAME gc_conformance_marksweep_linear COMMAND gc_marksweep_conformance_test)
set_tests_properties(gc_conformance_marksweep gc_conformance_marksweep_linear PROPERTIES LABELS "unit;core;gc" TIMEOUT 120)
set_tests_properties(gc_conformance_marksweep_linear PROPERTIES ENVIRONMENT GOMALLOC_LAYOUT=linear)

# The C interface and threads, in both layouts.
foreach(test gm_gc marksweep_stress)
  ha_add_unit_test(gc_${test}_test SOURCES ${test}_test.c LIBS gomalloc_gc LABELS core gc)
  add_test(NAME gc_${test}_test_linear COMMAND gc_${test}_test)
  set_tests_properties(gc_${test}_test_linear PROPERTIES LABELS "unit;core;gc" TIMEOUT 120
                       ENVIRONMENT GOMALLOC_LAYOUT=linear)
endforeach()

# The example: a Lisp whose objects all live in the collector's heap.
add_executable(gc_example_lisp example/lisp.c)
target_link_libraries(gc_example_lisp PRIVATE gomalloc_gc)
add_test(NAME gc_example_lisp_test
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/example/lisp_test.sh $<TARGET_FILE:gc_example_lisp>
                 ${CMAKE_CURRENT_SOURCE_DIR}/example/lisp_test.lisp)
set_tests_properties(gc_example_lisp_test PROPERTIES LABELS "unit;core;gc" TIMEOUT 60)
