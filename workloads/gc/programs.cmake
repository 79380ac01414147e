# The mutator programs: each text compiled twice (program.h), and once in Go where that is installed.
set(gc_programs gc/bench.c gc/frag.c gc/lists.c gc/lru.c gc/map.c gc/trees.c)
foreach(roots precise conservative)
  add_library(heaparena_gc_programs_${roots} OBJECT ${gc_programs})
  target_link_libraries(heaparena_gc_programs_${roots} PRIVATE heaparena_options)
endforeach()
target_compile_definitions(heaparena_gc_programs_conservative PRIVATE GC_MUTATOR_CONSERVATIVE=1)

find_program(HEAPARENA_GO go)
if(HEAPARENA_GO)
  file(GLOB gc_go_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/gc/go/*.go" "${CMAKE_CURRENT_SOURCE_DIR}/gc/go/go.mod")
  add_custom_command(
    OUTPUT "${CMAKE_BINARY_DIR}/bin/heaparena-gc-go"
    COMMAND "${CMAKE_COMMAND}" -E env "GOCACHE=${CMAKE_BINARY_DIR}/go-cache" GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
            "${HEAPARENA_GO}" build -o "${CMAKE_BINARY_DIR}/bin/heaparena-gc-go" .
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/gc/go"
    DEPENDS ${gc_go_sources}
    COMMENT "Building heaparena-gc-go")
  add_custom_target(heaparena-gc-go-program ALL DEPENDS "${CMAKE_BINARY_DIR}/bin/heaparena-gc-go")
endif()
