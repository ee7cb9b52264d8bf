-- Whether scripts may run at all.
--
-- KEYS  1 a key that is never there
-- Returns 1

redis.call('DEL', KEYS[1])
return 1
