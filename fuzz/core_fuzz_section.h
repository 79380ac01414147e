// core_fuzz_section.h: included before everything else in the core that the target `core` links (CMakeLists.txt).
// All variables of the core, those inside functions too, go into two sections of their own, so that
// core_fuzz_world.c can give each input a core that never ran. clang alone knows these pragmas; only it builds
// fuzz targets.
#ifndef HEAPARENA_FUZZ_CORE_FUZZ_SECTION_H
#define HEAPARENA_FUZZ_CORE_FUZZ_SECTION_H

#define GM_TABLE // base.h

#pragma clang section bss = "core_bss" data = "core_data"

#endif
