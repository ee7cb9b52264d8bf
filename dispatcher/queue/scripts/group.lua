-- Create a stream's group, by default at 0, so that entries written before the first worker are read too.
--
-- KEYS  1 work stream or outcomes
-- ARGV  1 group   2 optional: where it begins
-- Returns 1 if it was created, 0 if it was there
--
-- XGROUP CREATE is refused at maxmemory; after a write that cannot grow memory (XDEL of nothing) it is not.

redis.call('XDEL', KEYS[1], '0-0')
local reply = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2] or '0', 'MKSTREAM')
if reply.err then
  if string.find(reply.err, 'BUSYGROUP', 1, true) then
    return 0
  end
  return reply
end
return 1
