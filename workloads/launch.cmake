# launch.cmake: what starts and watches real programs: heaparena-launch, the witness, their test.
# Included by CMakeLists.txt.
add_executable(heaparena-launch launch.c launch_curve.c)
target_link_libraries(heaparena-launch PRIVATE heaparena_options)

# The witness lives in other programs: never instrumented, nothing linked but libc.
add_library(heaparena-witness SHARED witness.c)
target_compile_definitions(heaparena-witness PRIVATE _GNU_SOURCE)
target_include_directories(heaparena-witness PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(heaparena-witness PRIVATE
  -O2 -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -fvisibility=hidden
  -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
  $<$<BOOL:${HEAPARENA_WERROR}>:-Werror>)

ha_add_unit_test(launch_test SOURCES launch_test.c launch_curve.c)
