# trace.cmake: traces: the format, the replayer, the recorder, the collector and its tool, and their tests.
# Included by CMakeLists.txt, which has found jansson and zstd.
set(trace_dir "${CMAKE_CURRENT_LIST_DIR}")

# The format: reader and writer.
add_library(heaparena_trace STATIC
  ${trace_dir}/trace_check.c
  ${trace_dir}/trace_codec.c
  ${trace_dir}/trace_map.c
  ${trace_dir}/trace_read.c
  ${trace_dir}/trace_write.c)
target_link_libraries(heaparena_trace PUBLIC heaparena_options PRIVATE PkgConfig::ZSTD)

# Models of traces: files and what is made from them; the worker has these too.
add_library(heaparena_model STATIC ${trace_dir}/model_file.c ${trace_dir}/model_make.c)
target_link_libraries(heaparena_model PUBLIC heaparena_options heaparena_trace PRIVATE PkgConfig::JANSSON m)

# The workloads `trace` and `model`. They call the services of workload.h, which the program that links them has (services.c).
add_library(heaparena_replay STATIC
  ${trace_dir}/replay.c
  ${trace_dir}/replay_compile.c
  ${trace_dir}/replay_survey.c
  ${trace_dir}/replay_lanes.c
  ${trace_dir}/replay_oracle.c
  ${trace_dir}/replay_pace.c
  ${trace_dir}/replay_source.c
  ${trace_dir}/replay_verify.c)
target_link_libraries(heaparena_replay PUBLIC heaparena_options heaparena_trace heaparena_model
  PRIVATE heaparena_adapters m)

# What makes traces of recordings, and what tells of them.
add_library(heaparena_collect STATIC
  ${trace_dir}/collect.c
  ${trace_dir}/collect_spool.c
  ${trace_dir}/import.c
  ${trace_dir}/import_mtrace.c
  ${trace_dir}/import_text.c
  ${trace_dir}/trace_edit.c
  ${trace_dir}/trace_stat.c
  ${trace_dir}/trace_stat_print.c
  ${trace_dir}/trace_info.c)
target_link_libraries(heaparena_collect PUBLIC heaparena_options heaparena_trace PkgConfig::JANSSON PRIVATE m)

# What fits models to traces.
add_library(heaparena_fit STATIC
  ${trace_dir}/model_check.c
  ${trace_dir}/model_fit.c
  ${trace_dir}/model_survey.c)
target_link_libraries(heaparena_fit PUBLIC heaparena_options heaparena_trace heaparena_model PRIVATE m)

add_executable(heaparena-trace ${trace_dir}/trace_tool.c)
target_link_libraries(heaparena-trace PRIVATE heaparena_collect heaparena_fit)

# The recorder lives in other programs: never instrumented, nothing linked but libc.
add_library(heaparena-record SHARED ${trace_dir}/recorder.c ${trace_dir}/record_exec.c ${trace_dir}/record_spool.c)
target_include_directories(heaparena-record PRIVATE "${PROJECT_SOURCE_DIR}")
target_compile_definitions(heaparena-record PRIVATE _GNU_SOURCE)
target_compile_options(heaparena-record PRIVATE
  -O2 -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -fvisibility=hidden
  -fno-omit-frame-pointer -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
  $<$<BOOL:${HEAPARENA_WERROR}>:-Werror>)
target_link_libraries(heaparena-record PRIVATE Threads::Threads)

add_library(heaparena_trace_test_support STATIC ${trace_dir}/trace_test_support.c)
target_link_libraries(heaparena_trace_test_support PUBLIC heaparena_trace)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
target_link_libraries(heaparena_trace_test_support PRIVATE PkgConfig::CMOCKA)

ha_add_unit_test(trace_test SOURCES ${trace_dir}/trace_test.c
  LIBS heaparena_trace_test_support heaparena_trace PkgConfig::ZSTD LABELS one_thread)

ha_add_unit_test(collect_test SOURCES ${trace_dir}/collect_test.c LIBS heaparena_trace_test_support heaparena_collect)

# The program that record_test records: plain, as the recorder is.
add_executable(heaparena-record-fixture ${trace_dir}/record_fixture.c)
target_compile_options(heaparena-record-fixture PRIVATE -O1 -Wall -Wextra -fno-builtin)
target_compile_definitions(heaparena-record-fixture PRIVATE _GNU_SOURCE)
target_link_libraries(heaparena-record-fixture PRIVATE Threads::Threads)

# What it cannot record: a program that is linked statically, and one with a malloc of its own.
add_executable(heaparena-record-static ${trace_dir}/record_fixture.c)
target_compile_options(heaparena-record-static PRIVATE -O1 -Wall -Wextra -fno-builtin)
target_compile_definitions(heaparena-record-static PRIVATE _GNU_SOURCE)
target_link_options(heaparena-record-static PRIVATE -static)
add_executable(heaparena-record-own ${trace_dir}/record_own_malloc.c)
target_compile_options(heaparena-record-own PRIVATE -O1 -Wall -Wextra -fno-builtin)
target_compile_definitions(heaparena-record-own PRIVATE _GNU_SOURCE)

# A machine that is slow to let a thread begin.
add_library(heaparena-record-late-start SHARED ${trace_dir}/record_late_start.c)
target_compile_options(heaparena-record-late-start PRIVATE -O1 -Wall -Wextra -fvisibility=hidden)
target_compile_definitions(heaparena-record-late-start PRIVATE _GNU_SOURCE)
target_link_libraries(heaparena-record-late-start PRIVATE Threads::Threads)

ha_add_unit_test(record_test SOURCES ${trace_dir}/record_test.c LIBS heaparena_trace_test_support heaparena_collect)
target_compile_definitions(record_test PRIVATE
  RECORDER="$<TARGET_FILE:heaparena-record>"
  LATE_START="$<TARGET_FILE:heaparena-record-late-start>"
  FIXTURE="$<TARGET_FILE:heaparena-record-fixture>"
  STATIC_FIXTURE="$<TARGET_FILE:heaparena-record-static>"
  OWN_FIXTURE="$<TARGET_FILE:heaparena-record-own>"
  TOOL="$<TARGET_FILE:heaparena-trace>")
add_dependencies(record_test heaparena-record heaparena-record-late-start heaparena-record-fixture heaparena-record-static heaparena-record-own
  heaparena-trace)

# The test has its own ha_param_text() in place of catalog.c's.
ha_add_unit_test(replay_test SOURCES ${trace_dir}/replay_test.c ${trace_dir}/services.c
  LIBS heaparena_trace_test_support heaparena_replay heaparena_fit heaparena_adapters)
target_compile_definitions(replay_test PRIVATE TRACES="${trace_dir}/traces")
# It asks for impossible sizes, as recorded programs do, and a replay that gives up leaves its blocks.
set_tests_properties(replay_test PROPERTIES ENVIRONMENT
  "ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0;TSAN_OPTIONS=allocator_may_return_null=1")

ha_add_unit_test(trace_edit_test SOURCES ${trace_dir}/trace_edit_test.c
  LIBS heaparena_trace_test_support heaparena_collect)
ha_add_unit_test(import_test SOURCES ${trace_dir}/import_test.c LIBS heaparena_trace_test_support heaparena_collect)
ha_add_unit_test(model_test SOURCES ${trace_dir}/model_test.c
  LIBS heaparena_trace_test_support heaparena_fit heaparena_trace LABELS one_thread)
target_compile_definitions(model_test PRIVATE TRACES="${trace_dir}/traces")
