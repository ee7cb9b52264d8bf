-- Add jobs straight to the delayed set; those that wait already are left alone.
--
-- KEYS  1 delayed   2 delayed jobs
-- ARGV  member, due ms, fields; member, ...
-- Returns how many were new. A full Redis refuses: this is a producer's call.

local added = 0
for i = 1, #ARGV, 3 do
  added = added + redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 2])
  redis.call('ZADD', KEYS[1], 'NX', ARGV[i + 1], ARGV[i])
end
return added
