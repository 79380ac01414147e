// A C++ program for the profile `programs`: maps, strings, shared pointers and vectors that come and go.
// Prints one line that is the same everywhere.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

struct item {
  std::string title;
  std::vector<std::uint32_t> tags;
};

std::uint64_t state = 2026;

std::uint32_t random_below(std::uint32_t n) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<std::uint32_t>(state >> 33) % n;
}

std::shared_ptr<item> make_item() {
  auto made = std::make_shared<item>();
  made->title = "item " + std::string(random_below(60), 'x') + std::to_string(random_below(5000));
  for (std::uint32_t i = random_below(9); i > 0; i--)
    made->tags.push_back(random_below(300));
  return made;
}

} // namespace

int main() {
  std::map<std::string, std::shared_ptr<item>> by_title;
  std::unordered_map<std::uint32_t, std::vector<std::weak_ptr<item>>> by_tag;
  std::deque<std::shared_ptr<item>> recent;
  for (int i = 0; i < 200000; i++) {
    auto made = make_item();
    for (std::uint32_t tag : made->tags)
      by_tag[tag].push_back(made);
    recent.push_back(made);
    if (recent.size() > 4000)
      recent.pop_front();
    by_title[made->title] = std::move(made);
    if (i % 3 == 0 && !by_title.empty())
      by_title.erase(by_title.begin());
  }
  std::size_t alive = 0, letters = 0;
  for (auto &[tag, items] : by_tag) {
    items.erase(std::remove_if(items.begin(), items.end(), [](const auto &one) { return one.expired(); }),
                items.end());
    alive += items.size();
  }
  for (const auto &[title, one] : by_title)
    letters += title.size() + one->tags.size();
  std::printf("%zu %zu %zu\n", by_title.size(), alive, letters);
}
