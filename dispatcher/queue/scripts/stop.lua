-- Stop a project, a lane or a target until it is resumed.
--
-- KEYS  1 control
-- ARGV  1 field (`stop:project`, `stop:lane:<lane>`, `stop:target:<key>`)   2 what it is, for people
-- Returns 1 if it was not stopped before, else 0. The field then holds "<now ms>:<what it is>".
--
-- The first write is HDEL: a full Redis is when somebody wants this.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f:%s', now, ARGV[2]))
return 1
