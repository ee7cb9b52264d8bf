-- Which commands this user may not run.
--
-- KEYS  1 a key that is never there
-- ARGV  of each call: how many words, its name in the rules, and the words
-- Returns {name, ...} of those that are refused
--
-- Rights are looked at before anything else of a command: that the key is missing, or that Redis is full, is another
-- error, and none of these calls leaves anything behind.

local function is_refused(reply)
  local text = type(reply) == 'table' and reply.err or ''
  -- As 6.2 and 7.0 say it, and later ones.
  return string.find(text, "can't run this command", 1, true) or string.find(text, 'no permissions', 1, true)
end

-- Without it the others could not be undone; and a full Redis wants it first.
if is_refused(redis.pcall('DEL', KEYS[1])) then
  return { 'del' }
end
local refused, at = {}, 1
while ARGV[at] do
  local words = tonumber(ARGV[at])
  if is_refused(redis.pcall(unpack(ARGV, at + 2, at + 1 + words))) then
    refused[#refused + 1] = ARGV[at + 1]
  end
  at = at + 2 + words
end
redis.call('DEL', KEYS[1])
return refused
