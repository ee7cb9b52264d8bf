-- End a project's pause as if its time had come: the next claim probes.
--
-- KEYS  1 control
-- Returns 1 if it was paused and that was not over, else 0
--
-- How often it has failed stays: if the probe fails, the next pause is longer. The first write is HDEL (full Redis).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pause_end = redis.call('HGET', KEYS[1], 'pause:until')
if not pause_end or tonumber(pause_end) <= now then
  return 0
end
redis.call('HDEL', KEYS[1], 'pause:until', 'pause:probe')
redis.call('HSET', KEYS[1], 'pause:until', now)
return 1
