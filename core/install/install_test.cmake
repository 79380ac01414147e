# cmake -P: installs the build folder `build` under `scratch`, then builds and runs consumer.c with find_package and with
# pkg-config.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(prefix ${scratch}/prefix)
file(REMOVE_RECURSE ${scratch})
run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix} --component gomalloc)

foreach(file ${libdir}/libgomalloc.so ${libdir}/libgomalloc.a include/gomalloc.h ${libdir}/pkgconfig/gomalloc.pc
        ${libdir}/cmake/gomalloc/gomallocConfig.cmake)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()

set(ENV{PKG_CONFIG_PATH} ${prefix}/${libdir}/pkgconfig)
run(pkg-config --modversion gomalloc)
string(STRIP "${output}" version)

run(${CMAKE_COMMAND} -S ${source} -B ${scratch}/consumer -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_C_COMPILER=${compiler})
run(${CMAKE_COMMAND} --build ${scratch}/consumer)
run(${scratch}/consumer/consumer_shared replaced ${version})
run(${scratch}/consumer/consumer_static kept ${version})

run(pkg-config --cflags --libs gomalloc)
separate_arguments(flags UNIX_COMMAND "${output}")
run(${compiler} -fno-builtin-malloc ${source}/consumer.c -o ${scratch}/consumer_pkg_config ${flags}
    -Wl,-rpath,${prefix}/${libdir})
run(${scratch}/consumer_pkg_config replaced ${version})
run(readelf -d ${scratch}/consumer_pkg_config)
if(NOT output MATCHES "libgomalloc\\.so\\.0\\]")
  message(FATAL_ERROR "the program does not ask for the soname:\n${output}")
endif()
