-- Tables, strings and closures, with a generator of its own: prints one line that is the same everywhere.
local seed = 2026
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed % n + 1
end

local kept, sum = {}, 0
for round = 1, 60 do
  local words = {}
  for i = 1, 2500 do
    words[i] = string.rep(string.char(96 + random(26)), random(24)) .. round
  end
  table.sort(words)
  local groups = {}
  for _, word in ipairs(words) do
    local group = groups[word:sub(1, 1)] or {}
    group[#group + 1] = { text = word, length = function() return #word end }
    groups[word:sub(1, 1)] = group
  end
  for letter, group in pairs(groups) do
    sum = sum + #group * group[#group].length() + letter:byte()
    kept[letter .. round % 7] = group
  end
end
local count = 0
for _ in pairs(kept) do count = count + 1 end
print(sum, count)
