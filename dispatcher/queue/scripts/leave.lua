-- Leave a project: remove the consumer where it has nothing pending, then drop the lease.
--
-- KEYS  1 lease   2.. work streams
-- ARGV  1 group   2 consumer   3 epoch
-- Returns 1 if nothing was left pending, else 0
--
-- XGROUP DELCONSUMER throws pending entries away, so it is asked and done in one script. Entries that are
-- left are reclaimed by others as soon as the lease is gone.

local clean = 1
for i = 2, #KEYS do
  local pending = redis.pcall('XPENDING', KEYS[i], ARGV[1], '-', '+', 1, ARGV[2])
  if not pending.err then
    if #pending == 0 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[i], ARGV[1], ARGV[2])
    else
      clean = 0
    end
  end
end
if redis.call('GET', KEYS[1]) == ARGV[3] then
  redis.call('DEL', KEYS[1])
end
return clean
