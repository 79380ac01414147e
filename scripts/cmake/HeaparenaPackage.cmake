# `cpack` in the build folder: one Debian package with all of it. Configure with -D CMAKE_INSTALL_PREFIX=/usr to have the
# libraries in Debian's own folder; scripts/packaging/package.sh does both.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME heaparena)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The heaparena developers <heaparena@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_DESCRIPTION "heaparena runs memory allocators side by side on synthetic work and on recorded
programs, and writes a report with ratios, intervals and a noise floor. It brings
gomalloc, Go's runtime allocator rebuilt in C for programs that call free.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # what the programs are linked with
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib)
# The Python modules are those that scripts/setup installs.
file(STRINGS ${PROJECT_SOURCE_DIR}/scripts/setup ha_python REGEX "^python_packages=\\(")
string(REGEX MATCHALL "python3-[a-z0-9]+" ha_python "${ha_python}")
list(JOIN ha_python ", " ha_python)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "python3 (>= 3.11), ${ha_python}")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libmimalloc2.0, libjemalloc2, libtcmalloc-minimal4, libtbbmalloc2, valgrind")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libclang-rt-14-dev, slurm-client, cmake, bash-completion")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    "${PROJECT_SOURCE_DIR}/scripts/packaging/postinst;${PROJECT_SOURCE_DIR}/scripts/packaging/prerm;${PROJECT_SOURCE_DIR}/scripts/packaging/triggers")
include(CPack)
