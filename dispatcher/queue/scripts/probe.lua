-- Claim the probe of a project whose pause is over.
--
-- KEYS  1 control
-- ARGV  1 consumer   2 duration of the claim, ms
-- Returns 1 if the claim is the caller's and not used up, else 0

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local control = redis.call('HMGET', KEYS[1], 'pause:until', 'pause:probe')
if not control[1] or now < tonumber(control[1]) then
  return 0
end
local claim_end, used, holder = string.match(control[2] or '', '^(%d+):(%d):(.*)$')
if claim_end and now < tonumber(claim_end) then
  return used == '0' and holder == ARGV[1] and 1 or 0
end
redis.call('HDEL', KEYS[1], 'pause:probe')
redis.call('HSET', KEYS[1], 'pause:probe', string.format('%.0f:0:%s', now + ARGV[2], ARGV[1]))
return 1
