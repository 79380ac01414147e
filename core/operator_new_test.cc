// Every form of operator new and delete, run under LD_PRELOAD=libgomalloc.so: where the blocks come from
// (gm_stats, found by name), their alignment, bad_alloc, the new_handler, nothrow forms with a handler that
// throws. C++ because only its compiler emits these calls; not part of any library.
#include "core/gomalloc.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

int failures = 0;

void expect(bool condition, const char *what) {
  if (!condition) {
    std::fprintf(stderr, "operator_new_test: %s\n", what);
    failures++;
  }
}

gm_stats stats() {
  static const auto read = reinterpret_cast<void (*)(gm_stats *)>(dlsym(RTLD_DEFAULT, "gm_stats_read"));
  gm_stats result{};
  if (read == nullptr) {
    std::fprintf(stderr, "operator_new_test: run me under LD_PRELOAD=libgomalloc.so\n");
    std::exit(2);
  }
  read(&result);
  return result;
}

// Hides a value from the compiler, which may otherwise remove a new and its delete.
template <class T> T opaque(T value) {
  volatile T copy = value;
  return copy;
}

bool aligned(const void *pointer, std::size_t align) {
  return reinterpret_cast<std::uintptr_t>(pointer) % align == 0;
}

const std::align_val_t wide{128};

void test_forms() {
  const std::size_t size = opaque<std::size_t>(200);
  void *blocks[] = {
      ::operator new(size),
      ::operator new[](size),
      ::operator new(size, std::nothrow),
      ::operator new[](size, std::nothrow),
      ::operator new(size, wide),
      ::operator new[](size, wide),
      ::operator new(size, wide, std::nothrow),
      ::operator new[](size, wide, std::nothrow),
      ::operator new(size),
      ::operator new[](size),
      ::operator new(size, wide),
      ::operator new[](size, wide),
  };
  gm_stats before = stats();
  for (void *block : blocks)
    expect(block != nullptr && aligned(block, 16), "a form of new");
  for (int i : {4, 5, 6, 7, 10, 11})
    expect(aligned(blocks[i], 128), "an aligned form of new");
  ::operator delete(blocks[0]);
  ::operator delete[](blocks[1]);
  ::operator delete(blocks[2], std::nothrow);
  ::operator delete[](blocks[3], std::nothrow);
  ::operator delete(blocks[4], wide);
  ::operator delete[](blocks[5], wide);
  ::operator delete(blocks[6], wide, std::nothrow);
  ::operator delete[](blocks[7], wide, std::nothrow);
  ::operator delete(blocks[8], size);
  ::operator delete[](blocks[9], size);
  ::operator delete(blocks[10], size, wide);
  ::operator delete[](blocks[11], size, wide);
  gm_stats after = stats();
  expect(after.Frees - before.Frees == 12, "twelve forms of delete free twelve blocks of gomalloc");
  expect(after.HeapObjects + 12 == before.HeapObjects, "the blocks were gomalloc's");
}

struct alignas(256) Wide {
  char bytes[300];
};

void test_expressions() {
  gm_stats before = stats();
  {
    auto one = std::make_unique<Wide>();
    auto many = std::make_unique<Wide[]>(opaque<std::size_t>(5));
    expect(aligned(one.get(), 256) && aligned(many.get(), 256), "over-aligned types");
    std::vector<std::string> words;
    for (int i = 0; i < 10000; i++)
      words.push_back("a string that is too long to be kept inside " + std::to_string(i));
    std::thread([moved = std::move(words)] { (void)moved.size(); }).join();
    expect(stats().Mallocs - before.Mallocs > 10000, "the strings were gomalloc's");
  }
  expect(stats().HeapObjects <= before.HeapObjects + 20, "everything is freed");
}

const std::size_t huge = std::size_t{1} << 60;

void test_bad_alloc() {
  int caught = 0;
  for (int form = 0; form < 4; form++) {
    try {
      // Nothing to delete: none of them returns.
      (void)(form == 0   ? ::operator new(opaque(huge))
             : form == 1 ? ::operator new[](opaque(huge))
             : form == 2 ? ::operator new(opaque(huge), wide)
                         : ::operator new[](opaque(huge), wide));
    } catch (const std::bad_alloc &) {
      caught++;
    }
  }
  expect(caught == 4, "huge requests throw std::bad_alloc");
  expect(::operator new(opaque(huge), std::nothrow) == nullptr, "nothrow gives null");
  expect(::operator new[](opaque(huge), std::nothrow) == nullptr, "nothrow array gives null");
  expect(::operator new(opaque(huge), wide, std::nothrow) == nullptr, "aligned nothrow gives null");
  expect(::operator new[](opaque(huge), wide, std::nothrow) == nullptr, "aligned nothrow array gives null");
}

int handler_calls = 0;

// Gives up the third time: the next failure throws.
void give_up_later() {
  if (++handler_calls == 3)
    std::set_new_handler(nullptr);
}

struct HandlerError : std::bad_alloc {};

void throwing_handler() {
  handler_calls++;
  throw HandlerError();
}

void test_new_handler() {
  std::set_new_handler(give_up_later);
  bool caught = false;
  try {
    (void)::operator new(opaque(huge));
  } catch (const std::bad_alloc &) {
    caught = true;
  }
  expect(caught && handler_calls == 3, "the new_handler is called until there is none");
  std::set_new_handler(throwing_handler);
  handler_calls = 0;
  caught = false;
  try {
    (void)::operator new(opaque(huge), wide);
  } catch (const HandlerError &) {
    caught = true;
  }
  expect(caught && handler_calls == 1, "an exception of the handler passes through new");
  expect(::operator new(opaque(huge), std::nothrow) == nullptr &&handler_calls == 2,
         "and ends in nothrow new");
  expect(::operator new[](opaque(huge), wide, std::nothrow) == nullptr &&handler_calls == 3,
         "and in its aligned array form");
  std::set_new_handler(nullptr);
}

} // namespace

int main() {
  test_forms();
  test_expressions();
  test_bad_alloc();
  test_new_handler();
  if (failures == 0)
    std::puts("operator_new_test: passed");
  return failures == 0 ? 0 : 1;
}
