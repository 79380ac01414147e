# Tests of libgomalloc.so in programs that know nothing of it: each runs under LD_PRELOAD, in both layouts.
function(core_add_preload_test name)
  foreach(layout sparse linear)
    add_test(NAME ${name}_${layout} COMMAND ${name} ${ARGN})
    set_tests_properties(${name}_${layout} PROPERTIES LABELS "unit;core;preload" TIMEOUT 120
                         ENVIRONMENT "LD_PRELOAD=$<TARGET_FILE:gomalloc>;GOMALLOC_LAYOUT=${layout}")
  endforeach()
endfunction()

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

foreach(test preload signal_guard dlopen)
  add_executable(core_${test}_test ${test}_test.c)
  target_link_libraries(core_${test}_test PRIVATE heaparena_options PkgConfig::CMOCKA Threads::Threads ${CMAKE_DL_LIBS})
  # The program must find the library's symbols, not the linker.
  add_dependencies(core_${test}_test gomalloc)
endforeach()
core_add_preload_test(core_preload_test)
core_add_preload_test(core_signal_guard_test)

add_library(core_dlopen_test_module MODULE dlopen_test_module.c)
target_link_libraries(core_dlopen_test_module PRIVATE heaparena_options Threads::Threads)
set(dlopen_arguments $<TARGET_FILE:core_dlopen_test_module> $<TARGET_FILE:gomalloc>)
core_add_preload_test(core_dlopen_test ${dlopen_arguments})
add_test(NAME core_dlopen_test_without_preload COMMAND core_dlopen_test ${dlopen_arguments})
set_tests_properties(core_dlopen_test_without_preload PROPERTIES LABELS "unit;core;preload" TIMEOUT 120)

add_executable(core_operator_new_test operator_new_test.cc)
target_compile_options(core_operator_new_test PRIVATE -fsized-deallocation)
target_link_libraries(core_operator_new_test PRIVATE heaparena_options Threads::Threads ${CMAKE_DL_LIBS})
core_add_preload_test(core_operator_new_test)

# GOMALLOC_STATS at exit is JSON that others read.
add_test(NAME core_stats_json_test
         COMMAND sh -c "GOMALLOC_STATS=1 LD_PRELOAD=$<TARGET_FILE:gomalloc> /usr/bin/python3 -c 0 2>&1 | /usr/bin/python3 -c 'import json, sys; d = json.load(sys.stdin); assert d[\"HeapAlloc\"] > 0 and d[\"BySize\"] and d[\"Options\"][\"stats\"] == 1'")
set_tests_properties(core_stats_json_test PROPERTIES LABELS "unit;core;preload" TIMEOUT 60)

# Small versions of whole programs' work.
foreach(layout sparse linear)
  add_test(NAME core_preload_programs_test_${layout}
           COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/preload_programs_test.sh $<TARGET_FILE:gomalloc> ${CMAKE_C_COMPILER}
                   ${CMAKE_CURRENT_BINARY_DIR}/programs_test_${layout})
  set_tests_properties(core_preload_programs_test_${layout} PROPERTIES LABELS "core;preload" TIMEOUT 120
                       ENVIRONMENT GOMALLOC_LAYOUT=${layout})
endforeach()
