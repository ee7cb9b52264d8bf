-- Remove a consumer that has neither a lease nor anything pending.
--
-- KEYS  1 work stream or outcomes   2 the consumer's lease; left out: it has none, and asks for itself
-- ARGV  1 group   2 consumer
-- Returns 1 if it was removed
--
-- XGROUP DELCONSUMER throws pending entries away: asked and done in one script.

if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if pending.err or #pending > 0 then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
