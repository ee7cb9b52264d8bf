-- Cancel what is in a lane, a campaign, or a single job.
--
-- KEYS  1 control   2 the lane's stream (of another kind: any key of the slot)
-- ARGV  1 `lane`, `campaign` or `id`   2 its name   3 for how long the order is kept, ms   4 most orders
-- Returns the last entry id that is cancelled (lane), '' (others), or false: there are too many orders.
--
-- The field `cancel:<kind>:<name>` then holds "<end ms>:<last entry id or nothing>". Orders that have run out go.
-- The first write is HDEL (full Redis).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local orders, past = 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 7) == 'cancel:' then
    if tonumber(string.match(all[i + 1], '^(%d+):') or 0) < now then
      past[#past + 1] = all[i]
    else
      orders = orders + 1
    end
  end
end
if orders >= tonumber(ARGV[4]) then
  return false
end

local last = ''
if ARGV[1] == 'lane' then
  -- What is in the lane now, and what a producer has scheduled until now; nothing that comes later.
  last = string.format('%.0f-18446744073709551615', now - 1)
  local facts = redis.pcall('XINFO', 'STREAM', KEYS[2])
  if facts.err == nil then
    for i = 1, #facts, 2 do
      if facts[i] == 'last-generated-id' and tonumber(string.match(facts[i + 1], '^(%d+)')) >= now then
        last = facts[i + 1]
      end
    end
  end
end

local field = 'cancel:' .. ARGV[1] .. ':' .. ARGV[2]
redis.call('HDEL', KEYS[1], field)
for _, old in ipairs(past) do
  redis.call('HDEL', KEYS[1], old)
end
redis.call('HSET', KEYS[1], field, string.format('%.0f:%s', now + ARGV[3], last))
return last
