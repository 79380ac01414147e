# cmake --install BUILD --component gomalloc: the shared library with its soname, the static one, the header, the CMake package
# and the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(gomalloc PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
install(TARGETS gomalloc gomalloc_static
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT gomalloc NAMELINK_COMPONENT gomalloc
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT gomalloc)
install(FILES gomalloc.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT gomalloc)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gomalloc)
configure_package_config_file(install/gomallocConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/gomallocConfig.cmake
                              INSTALL_DESTINATION ${package_dir}
                              PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gomallocConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gomallocConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/gomallocConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT gomalloc)

# The prefix is known when installing: --prefix may differ from what was configured.
set(pc_in ${CMAKE_CURRENT_SOURCE_DIR}/install/gomalloc.pc.in)
set(pc_out ${CMAKE_CURRENT_BINARY_DIR}/gomalloc.pc)
install(CODE "
  set(CMAKE_INSTALL_LIBDIR [[${CMAKE_INSTALL_LIBDIR}]])
  set(CMAKE_INSTALL_INCLUDEDIR [[${CMAKE_INSTALL_INCLUDEDIR}]])
  set(PROJECT_VERSION [[${PROJECT_VERSION}]])
  get_filename_component(CMAKE_INSTALL_PREFIX \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
  configure_file([[${pc_in}]] [[${pc_out}]] @ONLY)
" COMPONENT gomalloc)
install(FILES ${pc_out} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT gomalloc)

# The consumer with our warnings, and with an entry for clang-tidy; the test below builds it as a stranger would.
add_library(core_install_consumer OBJECT install/consumer.c)
target_link_libraries(core_install_consumer PRIVATE heaparena_options)
target_include_directories(core_install_consumer PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})

# Installs into a scratch prefix and builds a consumer both ways.
add_test(NAME core_install_test
         COMMAND ${CMAKE_COMMAND} -D build=${CMAKE_BINARY_DIR} -D source=${CMAKE_CURRENT_SOURCE_DIR}/install
                 -D scratch=${CMAKE_CURRENT_BINARY_DIR}/install_test -D compiler=${CMAKE_C_COMPILER}
                 -D libdir=${CMAKE_INSTALL_LIBDIR} -P ${CMAKE_CURRENT_SOURCE_DIR}/install/install_test.cmake)
set_tests_properties(core_install_test PROPERTIES LABELS "core;install" TIMEOUT 180)
