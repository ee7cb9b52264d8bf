-- End a project's pause after a good probe, and start the ramp.
--
-- KEYS  1 control
-- Returns 1 if there was a pause that had run out, else 0 (a success from before a new pause ends nothing)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pause_end = redis.call('HGET', KEYS[1], 'pause:until')
if not pause_end or now < tonumber(pause_end) then
  return 0
end
redis.call('HDEL', KEYS[1], 'pause:until', 'pause:step', 'pause:reason', 'pause:probe')
redis.call('HSET', KEYS[1], 'pause:ramp', now)
return 1
