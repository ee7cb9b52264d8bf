-- Make due what waits for a stop that has been lifted, one page of the delayed jobs at a time.
--
-- KEYS  1 delayed   2 delayed jobs   3 control
-- ARGV  1 name of the stop (`lane:<lane>`, `target:<key>`)   2 cursor, '0' at first
-- Returns {next cursor ('0': that was all), jobs made due}
--
-- The first write is HDEL of nothing (full Redis).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local page = redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', 500)
local freed = 0
redis.call('HDEL', KEYS[2], '')
for i = 1, #page[2], 2 do
  local member, fields = page[2][i], page[2][i + 1]
  if string.byte(fields) == 80 then
    local start = string.find(fields, '[', 1, true)
    if start and string.sub(fields, 2, start - 1) == ARGV[1] then
      redis.call('ZADD', KEYS[1], 'XX', now, member)
      redis.call('HSET', KEYS[2], member, string.sub(fields, start))
      freed = freed + 1
    end
  end
end
if freed > 0 and redis.call('HINCRBY', KEYS[3], 'held', -freed) <= 0 then
  redis.call('HDEL', KEYS[3], 'held')
end
return { page[1], freed }
