# gomalloc with a fault: each mutant of a table (README.md, "Add") is a program of its own, linked from the changed copy of
# one or a few files of core/ and all else as the library has it, and a test `fuzz_mutant_NAME`.
#
#   ha_add_mutants(<table> LIBRARY gomalloc_static SOURCES runner.c LIBS ... [TIMEOUT seconds])
#
# The runner is called as `runner NAME TARGET ORACLE WITHIN` and ends with 0 when that oracle killed the mutant within so many
# executions, and not when it was off. Changed files are compiled as LIBRARY's are (its COMPILE_OPTIONS, its definitions).
find_program(HEAPARENA_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH DOC "The system's Python, as the command uses it")
find_program(HEAPARENA_PYTHON NAMES python3)
set(ha_mutate "${CMAKE_CURRENT_LIST_DIR}/mutate.py")

function(ha_add_mutants table)
  cmake_parse_arguments(arg "" "LIBRARY;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT HEAPARENA_PYTHON)
    message(STATUS "python3 not found: no mutants of ${table}")
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  get_filename_component(stem "${table}" NAME_WE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${table}" "${ha_mutate}")
  execute_process(COMMAND ${HEAPARENA_PYTHON} "${ha_mutate}" list "${table}"
                  OUTPUT_VARIABLE listing OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_library(fuzz_mutants_${stem}_runner OBJECT ${arg_SOURCES})
  target_link_libraries(fuzz_mutants_${stem}_runner PRIVATE heaparena_options ${arg_LIBS})
  string(REPLACE ";" "," listing "${listing}")
  string(REPLACE "\n" ";" listing "${listing}")
  foreach(line IN LISTS listing)
    string(REPLACE "|" ";" words "${line}")
    list(GET words 0 name)
    list(GET words 2 target)
    list(GET words 3 oracle)
    list(GET words 4 within)
    list(GET words 5 files)
    list(LENGTH words count)
    set(seen "")
    if(count GREATER 6)
      list(GET words 6 seen)
    endif()
    string(REPLACE "," ";" files "${files}")
    string(REPLACE "," ";" seen "${seen}")
    list(TRANSFORM seen PREPEND "${PROJECT_SOURCE_DIR}/")

    set(folder "${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}")
    list(TRANSFORM files PREPEND "${folder}/" OUTPUT_VARIABLE generated)
    list(TRANSFORM files PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE originals)
    if(generated)
      add_custom_command(OUTPUT ${generated} COMMENT "Planting ${name}"
                         COMMAND ${HEAPARENA_PYTHON} "${ha_mutate}" write "${table}" ${name} "${PROJECT_SOURCE_DIR}" "${folder}"
                         DEPENDS "${table}" "${ha_mutate}" ${originals} VERBATIM)
    endif()
    add_executable(fuzz_mutant_${name} ${generated} ${seen} $<TARGET_OBJECTS:fuzz_mutants_${stem}_runner>)
    target_include_directories(fuzz_mutant_${name} BEFORE PRIVATE "${folder}") # a changed header comes first
    # The library last: of it, the linker takes what the changed files do not have.
    target_link_libraries(fuzz_mutant_${name} PRIVATE heaparena_options ${arg_LIBS} ${arg_LIBRARY})
    target_compile_options(fuzz_mutant_${name} PRIVATE $<TARGET_PROPERTY:${arg_LIBRARY},COMPILE_OPTIONS> -w)
    target_compile_definitions(fuzz_mutant_${name} PRIVATE $<TARGET_PROPERTY:${arg_LIBRARY},COMPILE_DEFINITIONS>)
    # Mutants are not what clang-tidy should read under the name of the sound file.
    set_target_properties(fuzz_mutant_${name} PROPERTIES EXPORT_COMPILE_COMMANDS OFF
                          RUNTIME_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/mutants")
    add_test(NAME fuzz_mutant_${name} COMMAND fuzz_mutant_${name} ${name} ${target} ${oracle} ${within})
    set_tests_properties(fuzz_mutant_${name} PROPERTIES LABELS "unit;fuzzing" TIMEOUT ${arg_TIMEOUT})
  endforeach()
endfunction()
