# cmake -D file=... -D source=... -D version=... -D compiler=... -D build_type=... -D sanitizers=... -P: writes what a
# build is made of, for `heaparena --version` and results.json. Run by every build, because the commit changes without
# CMake's knowing. A tree that is no git checkout of its own (an unpacked archive) has no commit.
set(commit null)
find_program(git git)
if(git AND EXISTS ${source}/.git)
  execute_process(COMMAND ${git} -C ${source} rev-parse HEAD RESULT_VARIABLE failed OUTPUT_VARIABLE head
                  ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    execute_process(COMMAND ${git} -C ${source} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      string(APPEND head -dirty)
    endif()
    set(commit "\"${head}\"")
  endif()
endif()
string(REGEX REPLACE "^GNU " "gcc " compiler "${compiler}")
string(REGEX REPLACE "^Clang " "clang " compiler "${compiler}")
file(CONFIGURE OUTPUT ${file} @ONLY CONTENT [[{
  "version": "@version@",
  "commit": @commit@,
  "compiler": "@compiler@",
  "build_type": "@build_type@",
  "sanitizers": "@sanitizers@"
}
]])
