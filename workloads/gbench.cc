// gbench.cc: Google Benchmark behind the C functions of gbench.h. The only C++ in heaparena.
#include "workloads/gbench.h"

#include <benchmark/benchmark.h>

#include <fstream>
#include <iostream>

#ifndef HEAPARENA_BENCHMARK_VERSION
#define HEAPARENA_BENCHMARK_VERSION "unknown"
#endif

const char *hg_version(void) {
  return HEAPARENA_BENCHMARK_VERSION;
}

bool hg_run(const char *name, hg_pass pass, void *argument, unsigned iterations, const hg_context *context,
            size_t context_count, const char *path) {
  std::ofstream file(path);
  if (!file)
    return false;
  int argc = 1;
  char program[] = "heaparena-worker";
  char *argv[] = {program, nullptr};
  benchmark::Initialize(&argc, argv);
  for (size_t i = 0; i < context_count; i++)
    benchmark::AddCustomContext(context[i].key, context[i].value);
  benchmark::RegisterBenchmark(name,
                               [=](benchmark::State &state) {
                                 hg_sample sample{};
                                 for (auto _ : state) {
                                   sample = hg_sample{};
                                   pass(argument, &sample);
                                   state.SetIterationTime(sample.wall_seconds);
                                   if (sample.error) {
                                     state.SkipWithError(sample.error);
                                     break;
                                   }
                                 }
                                 for (size_t i = 0; i < sample.counter_count; i++)
                                   state.counters[sample.counters[i].name] = sample.counters[i].value;
                                 state.SetLabel(sample.label);
                               })
      ->Iterations(iterations)
      ->UseManualTime()
      ->MeasureProcessCPUTime();
  benchmark::JSONReporter reporter;
  reporter.SetOutputStream(&file);
  reporter.SetErrorStream(&std::cerr);
  size_t run = benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  file.close();
  return run == 1 && !file.fail();
}
