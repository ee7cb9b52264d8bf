-- Pause a project for all replicas.
--
-- KEYS  1 control
-- ARGV  1 ms asked for   2 reason   3 '1': the answer was to the probe   4 consumer   5 shortest pause, ms
--       6 longest pause of our own making, ms
-- Returns {pause end ms, step, TIME seconds, TIME microseconds}
--
-- Many answers open one circuit: while it is open they only prolong it to what they ask for. After it, a
-- failed probe doubles; a straggler from before the pause does not. The first write is HDEL (full Redis).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local control = redis.call('HMGET', KEYS[1], 'pause:until', 'pause:step', 'pause:probe')
local pause_end, step = tonumber(control[1] or 0), tonumber(control[2] or 0)
if now < pause_end then
  pause_end = math.max(pause_end, now + ARGV[1])
else
  if not control[1] then
    step = 0
  elseif ARGV[3] == '1' then
    local holder = string.match(control[3] or '', '^%d+:%d:(.*)$')
    if holder == nil or holder == ARGV[4] then
      step = step + 1
    end
  end
  -- What was asked for is never shortened; only the doubling has an end.
  pause_end = now + math.max(tonumber(ARGV[1]), math.min(tonumber(ARGV[6]), ARGV[5] * 2 ^ step))
  redis.call('HDEL', KEYS[1], 'pause:probe', 'pause:ramp')
end
redis.call('HDEL', KEYS[1], 'pause:until')
redis.call('HSET', KEYS[1], 'pause:until', pause_end, 'pause:step', step, 'pause:reason', ARGV[2])
return { pause_end, step, time[1], time[2] }
