-- Share a finding with all replicas for a time.
--
-- KEYS  1 control
-- ARGV  1 field   2 value   3 duration, ms
-- Returns {TIME seconds, TIME microseconds}. The field then holds "<end ms>:<value>".

local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f:%s', ends, ARGV[2]))
return time
