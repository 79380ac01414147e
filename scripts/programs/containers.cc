// A C++ file for scripts/bench to have clang compile: templates of the standard library, a few functions of
// each.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

struct shape {
  virtual ~shape() = default;
  virtual double area() const = 0;
};

struct circle final : shape {
  explicit circle(double r) : radius(r) {}
  double area() const override { return 3.14159265358979 * radius * radius; }
  double radius;
};

struct square final : shape {
  explicit square(double s) : side(s) {}
  double area() const override { return side * side; }
  double side;
};

using value = std::variant<long, double, std::string, std::vector<std::string>>;

std::map<std::string, std::vector<std::unique_ptr<shape>>> drawers(int count) {
  std::map<std::string, std::vector<std::unique_ptr<shape>>> result;
  for (int i = 0; i < count; i++) {
    auto &drawer = result["drawer " + std::to_string(i % 17)];
    if (i % 3)
      drawer.push_back(std::make_unique<circle>(i));
    else
      drawer.push_back(std::make_unique<square>(i));
  }
  for (auto &[name, shapes] : result)
    std::sort(shapes.begin(), shapes.end(),
              [](const auto &a, const auto &b) { return a->area() < b->area(); });
  return result;
}

std::unordered_map<std::string, value> settings(const std::vector<std::string> &words) {
  std::unordered_map<std::string, value> result;
  for (const auto &word : words)
    result.try_emplace(word, static_cast<long>(word.size()));
  result["words"] = words;
  return result;
}

std::function<double(double)> compose(std::vector<std::function<double(double)>> steps) {
  return [steps = std::move(steps)](double x) {
    for (const auto &step : steps)
      x = step(x);
    return x;
  };
}
