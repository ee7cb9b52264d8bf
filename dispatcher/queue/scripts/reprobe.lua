-- Give a used probe back to whoever claimed it: its batch was not sent.
--
-- KEYS  1 control
-- ARGV  1 consumer   2 duration of the claim, ms
-- Returns 1 if the claim is the caller's, else 0
--
-- It stays the caller's, who knows that it probes; others would only come in between. The first write is HDEL
-- (full Redis).

local holder = string.match(redis.call('HGET', KEYS[1], 'pause:probe') or '', '^%d+:%d:(.*)$')
if holder ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HDEL', KEYS[1], 'pause:probe')
redis.call('HSET', KEYS[1], 'pause:probe', string.format('%.0f:0:%s', now + ARGV[2], ARGV[1]))
return 1
