-- Keep what devices sent and servers reported, each once.
--
-- KEYS  1 the upstream stream   2 what stands in it: sorted set of hashes of (sender, message id)
-- ARGV  for each: hash, type, from, message_id, category, data
-- Returns how many were new
--
-- What was not acknowledged in time comes again, perhaps to another worker: the set tells. A full Redis refuses the
-- first ZADD, before anything is written; then nothing is acknowledged, and all of it comes again.

local at = redis.call('TIME')
local now = at[1] * 1000 + math.floor(at[2] / 1000)
local new = 0
for i = 1, #ARGV, 6 do
  if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'type', ARGV[i + 1], 'from', ARGV[i + 2], 'message_id', ARGV[i + 3],
      'category', ARGV[i + 4], 'data', ARGV[i + 5])
    new = new + 1
  end
end
return new
