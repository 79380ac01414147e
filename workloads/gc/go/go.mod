module heaparena/gc

go 1.19
