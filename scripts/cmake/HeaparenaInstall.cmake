# What `cmake --install BUILD` puts where, besides core/install (libgomalloc). Included last, when all targets are known.
#
#   bin/heaparena                     a link to the script below
#   share/heaparena/                  the Python part, laid out as in the checkout: scripts/, results/, workloads/traces/
#   lib/heaparena/bin, lib/heaparena/lib   programs and libraries that the command starts or preloads, laid out as a build folder
#   include/heaparena/, CMake package heaparena   for allocators kept elsewhere (adapters/README.md)
#   share/man/man1, share/bash-completion         written from the command's parser
#
# `cmake --build BUILD --target uninstall` removes all of it again. `cpack` in the build folder makes a Debian package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(ha_data ${CMAKE_INSTALL_DATADIR}/heaparena)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/packaging)
set(ha_programs lib/heaparena) # not LIBDIR: the script finds it as ../../lib/heaparena on every system

# Every program and private library called heaparena-*, of whatever room; what a test records is not for users.
function(ha_targets_of directory out)
  get_property(found DIRECTORY ${directory} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(below DIRECTORY ${directory} PROPERTY SUBDIRECTORIES)
  foreach(one IN LISTS below)
    ha_targets_of(${one} more)
    list(APPEND found ${more})
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

ha_targets_of(${PROJECT_SOURCE_DIR} ha_targets)
list(FILTER ha_targets INCLUDE REGEX "^heaparena-")
list(FILTER ha_targets EXCLUDE REGEX "-fixture$|-record-|_test$|_fuzz$")
foreach(target IN LISTS ha_targets)
  get_target_property(type ${target} TYPE)
  if(type MATCHES "EXECUTABLE|SHARED_LIBRARY|MODULE_LIBRARY")
    install(TARGETS ${target} RUNTIME DESTINATION ${ha_programs}/bin LIBRARY DESTINATION ${ha_programs}/lib)
  endif()
endforeach()

if(TARGET heaparena-gc-go-program) # built by Go, not a target of CMake's own kinds
  install(PROGRAMS ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/heaparena-gc-go DESTINATION ${ha_programs}/bin)
endif()

# The worker looks for gomalloc beside itself, where it is in a build folder.
if(TARGET gomalloc)
  file(RELATIVE_PATH ha_to_gomalloc /${ha_programs}/lib /${CMAKE_INSTALL_LIBDIR}/libgomalloc.so.${PROJECT_VERSION_MAJOR})
  file(CREATE_LINK ${ha_to_gomalloc} ${PROJECT_BINARY_DIR}/packaging/libgomalloc.so SYMBOLIC)
  install(FILES ${PROJECT_BINARY_DIR}/packaging/libgomalloc.so DESTINATION ${ha_programs}/lib)
endif()

# What was built, of which commit and by which compiler: for --version and the results.
set(ha_facts ${PROJECT_BINARY_DIR}/heaparena-build.json)
add_custom_target(heaparena_build_facts ALL BYPRODUCTS ${ha_facts} VERBATIM
                  COMMAND ${CMAKE_COMMAND} -D file=${ha_facts} -D source=${PROJECT_SOURCE_DIR} -D version=${PROJECT_VERSION}
                          "-Dcompiler=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}" -D build_type=${CMAKE_BUILD_TYPE}
                          -D "sanitizers=${HEAPARENA_SANITIZE}" -P ${PROJECT_SOURCE_DIR}/scripts/cmake/build_facts.cmake)
add_dependencies(heaparena-worker heaparena_build_facts) # what writes results is never older than they say
install(FILES ${ha_facts} DESTINATION ${ha_programs})

# The Python part.
install(PROGRAMS scripts/heaparena DESTINATION ${ha_data}/scripts)
set(ha_not_for_users PATTERN __pycache__ EXCLUDE PATTERN testdata EXCLUDE PATTERN "test_*.py" EXCLUDE PATTERN conftest.py EXCLUDE
                     PATTERN "*.md" EXCLUDE)
install(DIRECTORY scripts/cli scripts/programs DESTINATION ${ha_data}/scripts USE_SOURCE_PERMISSIONS ${ha_not_for_users})
install(DIRECTORY results DESTINATION ${ha_data} ${ha_not_for_users} PATTERN latest EXCLUDE PATTERN runs EXCLUDE
                                                                    PATTERN "*.png" EXCLUDE)
install(FILES core/instructions.golden DESTINATION ${ha_data}/core) # for `heaparena explain`
install(DIRECTORY workloads/traces DESTINATION ${ha_data}/workloads ${ha_not_for_users})
file(RELATIVE_PATH ha_to_script /${CMAKE_INSTALL_BINDIR} /${ha_data}/scripts/heaparena)
file(CREATE_LINK ${ha_to_script} ${PROJECT_BINARY_DIR}/packaging/heaparena SYMBOLIC)
install(FILES ${PROJECT_BINARY_DIR}/packaging/heaparena DESTINATION ${CMAKE_INSTALL_BINDIR})

# Man page and completion, written when installing: building needs no Python.
install(CODE "
  execute_process(COMMAND /usr/bin/python3 [[${PROJECT_SOURCE_DIR}/scripts/packaging/parser_pages.py]]
                          [[${PROJECT_BINARY_DIR}/packaging]] COMMAND_ERROR_IS_FATAL ANY)
")
install(FILES ${PROJECT_BINARY_DIR}/packaging/heaparena.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_BINARY_DIR}/packaging/completion DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME heaparena)

# For allocators in repositories of their own.
install(FILES adapters/alloc.h adapters/plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/heaparena)
set(ha_package ${CMAKE_INSTALL_LIBDIR}/cmake/heaparena)
configure_package_config_file(scripts/packaging/heaparenaConfig.cmake.in ${PROJECT_BINARY_DIR}/packaging/heaparenaConfig.cmake
                              INSTALL_DESTINATION ${ha_package} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/packaging/heaparenaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/packaging/heaparenaConfig.cmake
              ${PROJECT_BINARY_DIR}/packaging/heaparenaConfigVersion.cmake DESTINATION ${ha_package})
# Every page where the checkout has it, so that links from one to another hold.
file(GLOB_RECURSE ha_pages RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS core/*.md adapters/*.md workloads/*.md fuzz/*.md scripts/docs/*.md)
foreach(page IN LISTS ha_pages ITEMS README.md CHANGELOG.md results/README.md results/report.png results/misuse.schema.json)
  get_filename_component(folder ${page} DIRECTORY)
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder})
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY adapters/example DESTINATION ${CMAKE_INSTALL_DOCDIR}/adapters USE_SOURCE_PERMISSIONS PATTERN build EXCLUDE)

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -D manifest=${PROJECT_BINARY_DIR}/install_manifest.txt
                                    -P ${PROJECT_SOURCE_DIR}/scripts/cmake/uninstall.cmake VERBATIM)

include(HeaparenaPackage)
