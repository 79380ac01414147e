// heaparena-gc-go: the mutator programs of workloads/gc in Go, so that its runtime can be measured beside the
// collectors in C.
//
//	heaparena-gc-go version
//	heaparena-gc-go PROGRAM SEED SCALE [key=value...]
//
// The first prints Go's version. The second runs the program once and prints "name value" lines: what
// heaparena-worker counts of a program of its own, and the runtime's figures. Exit status 2 and one line on stderr
// for bad usage.
package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// run is what a program works with, as gc_run in program.h.
type run struct {
	values   map[string]uint64
	scale    float64
	objects  uint64
	checksum uint64
	random   uint64
}

// draw is SplitMix64, as ha_random() in workload.h.
func (r *run) draw() uint64 {
	r.random += 0x9e3779b97f4a7c15
	z := r.random
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// scaled is a parameter times the scale, at least 1.
func (r *run) scaled(key string) uint64 {
	value := float64(r.values[key]) * r.scale
	if value < 1 {
		return 1
	}
	return uint64(value)
}

func wrong(what string) {
	fmt.Fprintln(os.Stderr, "heaparena-gc-go:", what)
	os.Exit(1)
}

func refuse(what string) {
	fmt.Fprintln(os.Stderr, "heaparena-gc-go:", what)
	os.Exit(2)
}

// statusBytes reads one "Vm...: N kB" line of /proc/self/status.
func statusBytes(key string) uint64 {
	text, err := os.ReadFile("/proc/self/status")
	at := bytes.Index(text, []byte(key))
	if err != nil || at < 0 {
		return 0
	}
	var kib uint64
	fmt.Sscan(string(text[at+len(key):]), &kib)
	return kib * 1024
}

func seconds(t syscall.Timeval) float64 {
	return float64(t.Sec) + float64(t.Usec)/1e6
}

// quantile is the upper end of the bucket that holds the share of a histogram, in seconds.
func quantile(h *metrics.Float64Histogram, share float64) float64 {
	total, seen := uint64(0), uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	for i, n := range h.Counts {
		seen += n
		if n > 0 && float64(seen) >= share*float64(total) {
			if end := h.Buckets[i+1]; !math.IsInf(end, 1) {
				return end
			}
			return h.Buckets[i]
		}
	}
	return 0
}

func parse(arguments []string) (func(*run), *run) {
	if len(arguments) < 3 {
		refuse("usage: heaparena-gc-go PROGRAM SEED SCALE [key=value...]")
	}
	work := programs[arguments[0]]
	seed, seedError := strconv.ParseUint(arguments[1], 10, 64)
	scale, scaleError := strconv.ParseFloat(arguments[2], 64)
	if work == nil || seedError != nil || scaleError != nil || !(scale > 0) {
		refuse("no such program, or seed or scale is no number: " + fmt.Sprint(arguments[:3]))
	}
	r := &run{values: map[string]uint64{}, scale: scale, random: seed}
	for _, pair := range arguments[3:] {
		at := bytes.IndexByte([]byte(pair), '=')
		if at < 1 {
			refuse("not of the form key=value: " + pair)
		}
		value, err := strconv.ParseUint(pair[at+1:], 10, 64)
		if err != nil {
			refuse("not a number: " + pair)
		}
		r.values[pair[:at]] = value
	}
	return work, r
}

// report prints what is known after the work.
func report(r *run, wall time.Duration, before, after *syscall.Rusage, start uint64) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	pauses := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(pauses)
	user, system := seconds(after.Utime)-seconds(before.Utime), seconds(after.Stime)-seconds(before.Stime)
	most := 0.0
	collections := memory.NumGC
	for i := uint32(0); i < collections && i < uint32(len(memory.PauseNs)); i++ {
		most = math.Max(most, float64(memory.PauseNs[i])/1e9)
	}
	line := func(name string, value float64) { fmt.Printf("%s %.17g\n", name, value) }
	fmt.Printf("checksum %d\nobjects %d\n", r.checksum, r.objects)
	line("wall_seconds", wall.Seconds())
	line("user_seconds", user)
	line("system_seconds", system)
	line("start_rss_bytes", float64(start))
	line("peak_rss_bytes", float64(statusBytes("VmHWM:")))
	line("minor_faults", float64(after.Minflt-before.Minflt))
	line("major_faults", float64(after.Majflt-before.Majflt))
	line("collections", float64(collections))
	line("pause_total_seconds", float64(memory.PauseTotalNs)/1e9)
	line("pause_max_seconds", most)
	line("pause_p50_seconds", math.Min(most, quantile(pauses[0].Value.Float64Histogram(), 0.5)))
	line("pause_p99_seconds", math.Min(most, quantile(pauses[0].Value.Float64Histogram(), 0.99)))
	line("collector_share", memory.GCCPUFraction)
	line("allocated_bytes", float64(memory.TotalAlloc))
	line("heap_peak_bytes", float64(memory.HeapSys-memory.HeapReleased))
	line("live_bytes", float64(memory.HeapAlloc))
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(runtime.Version())
		return
	}
	work, r := parse(os.Args[1:])
	var before, after syscall.Rusage
	start := statusBytes("VmRSS:")
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	begin := time.Now()
	work(r)
	wall := time.Since(begin)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	report(r, wall, &before, &after, start)
}
