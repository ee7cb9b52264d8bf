-- Claim deduplication keys at first sight.
--
-- KEYS  deduplication keys
-- ARGV  1 window, ms   2.. origin ids, one per key
-- Returns for each key the origin id that was there before, or '' if the caller's is the first or the same
--
-- DEL of nothing goes before SET: a full Redis refuses the latter as first write, and must still drain.

local earlier = {}
for i = 1, #KEYS do
  local origin = redis.call('GET', KEYS[i])
  if not origin then
    redis.call('DEL', KEYS[i])
    redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ARGV[1])
  end
  earlier[i] = origin and origin ~= ARGV[i + 1] and origin or ''
end
return earlier
