# Mutants for the target `schedule`: each entry of a table (mutants.cmake says what tables are) becomes a library with yield
# points, of the changed files and all else as it is, and a test `fuzz_mutant_NAME`.
#
#   ha_add_schedule_mutants(<table>)
function(ha_add_schedule_mutants table)
  if(NOT HEAPARENA_PYTHON)
    return() # mutants.cmake has said so
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${table}" "${ha_mutate}")
  execute_process(COMMAND ${HEAPARENA_PYTHON} "${ha_mutate}" list "${table}"
                  OUTPUT_VARIABLE listing OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_executable(fuzz_schedule_mutants planted_run.c mutants/schedule_mutant_test.c)
  target_link_libraries(fuzz_schedule_mutants PRIVATE heaparena_options heaparena_fuzz)
  set_target_properties(fuzz_schedule_mutants PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/mutants")
  string(REPLACE ";" "," listing "${listing}")
  string(REPLACE "\n" ";" listing "${listing}")
  foreach(line IN LISTS listing)
    string(REPLACE "|" ";" words "${line}")
    list(GET words 0 name)
    list(GET words 3 oracles)
    list(GET words 4 within)
    list(GET words 5 files)
    string(REPLACE "," ";" files "${files}")
    if(files)
      set(folder "${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}")
      list(TRANSFORM files PREPEND "${folder}/" OUTPUT_VARIABLE generated)
      list(TRANSFORM files PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE originals)
      add_custom_command(OUTPUT ${generated} COMMENT "Planting ${name}"
                         COMMAND ${HEAPARENA_PYTHON} "${ha_mutate}" write "${table}" ${name} "${PROJECT_SOURCE_DIR}" "${folder}"
                         DEPENDS "${table}" "${ha_mutate}" ${originals} VERBATIM)
      set(library fuzz-mutant-${name})
      ha_add_schedule_library(${library} ${generated})
      target_compile_options(${library} PRIVATE -w)
      set_target_properties(${library} PROPERTIES EXPORT_COMPILE_COMMANDS OFF
                            LIBRARY_OUTPUT_DIRECTORY "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/mutants")
    else()
      set(library heaparena-schedule)
    endif()
    add_dependencies(fuzz_schedule_mutants ${library})
    add_test(NAME fuzz_mutant_${name} COMMAND fuzz_schedule_mutants ${name} $<TARGET_FILE:${library}> ${oracles} ${within})
    set_tests_properties(fuzz_mutant_${name} PROPERTIES LABELS "unit;fuzzing" TIMEOUT 120)
  endforeach()
endfunction()
