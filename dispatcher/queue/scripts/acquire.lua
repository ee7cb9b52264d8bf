-- Take a lease with a new epoch.
--
-- KEYS  1 lease
-- ARGV  1 epoch   2 duration in ms
-- Returns {TIME seconds, TIME microseconds}
--
-- SET is refused at maxmemory; after DEL it is not, and a worker must be able to come back to a full Redis.

redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('TIME')
