-- Hand the caller's unsent entries to the reserved consumer, from which anyone may reclaim them.
--
-- KEYS  1 work stream
-- ARGV  1 group   2 caller   3 reserved consumer   4 .. ids
-- Returns how many were the caller's
--
-- The delivery count is lowered by one, so that the reclaim that raises it restores it: no crash is counted.

local released = 0
for i = 4, #ARGV do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if not pending.err and #pending == 1 then
    local count = math.max(pending[1][4] - 1, 0)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i], 'RETRYCOUNT', count, 'JUSTID')
    released = released + 1
  end
end
return released
