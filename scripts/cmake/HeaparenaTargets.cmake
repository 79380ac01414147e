# The settings that every target shares, and the two functions that rooms use to add tests.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_C_FLAGS_RELEASE "-O3 -g -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g -DNDEBUG")

# Linked by every target of ours: warnings, sanitizers, coverage.
add_library(heaparena_options INTERFACE)
target_compile_options(heaparena_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -fno-omit-frame-pointer -fvisibility=hidden
  $<$<BOOL:${HEAPARENA_WERROR}>:-Werror>
  # The allocator under test defines malloc itself: the compiler must not assume the library's meaning.
  $<$<COMPILE_LANGUAGE:C>:-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free>
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>)
target_compile_definitions(heaparena_options INTERFACE _GNU_SOURCE HEAPARENA_VERSION="${PROJECT_VERSION}")
target_include_directories(heaparena_options INTERFACE "${PROJECT_SOURCE_DIR}")
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  target_compile_options(heaparena_options INTERFACE -gdwarf-4) # Debian 12's valgrind cannot read clang's DWARF 5
endif()
if(HEAPARENA_SANITIZE)
  target_compile_options(heaparena_options INTERFACE -fsanitize=${HEAPARENA_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(heaparena_options INTERFACE -fsanitize=${HEAPARENA_SANITIZE})
endif()
if(HEAPARENA_COVERAGE)
  # Not gcc's own fork, after which the child forgets what its fork handlers ran.
  target_compile_options(heaparena_options INTERFACE --coverage -fprofile-update=atomic -fno-builtin-fork)
  target_link_options(heaparena_options INTERFACE --coverage
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:LINKER:--wrap=_exit,--wrap=abort>)
  add_library(heaparena_coverage_end OBJECT "${CMAKE_CURRENT_LIST_DIR}/coverage_end.c")
  target_sources(heaparena_options INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:$<TARGET_OBJECTS:heaparena_coverage_end>>)
endif()

# ha_add_unit_test(<name> SOURCES a.c... [LIBS x y...] [TIMEOUT seconds] [LABELS l...])
# One cmocka program, built as <name> and registered with ctest under the same name. The label one_thread says that it
# starts no thread and takes a while: nothing that ThreadSanitizer could find.
function(ha_add_unit_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE heaparena_options ${arg_LIBS} PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "unit;${arg_LABELS}")
endfunction()
