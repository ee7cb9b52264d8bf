-- Take over entries of a consumer that has no lease.
--
-- KEYS  1 work stream   2 the caller's lease   3 the owner's lease
-- ARGV  1 group   2 caller   3 the caller's epoch   4 owner   5 .. 8 how many together after 0, 1, 2, 3+ crashes
-- Returns {crashes, more (1 or 0), {{id, {field, value, ...}}, ...}}; all of the same crash count
--
-- The leases are looked at in the script that claims: an owner that came back in between keeps its entries,
-- and a caller that lost its own lease takes none. Deliveries are only ever changed by an explicit
-- RETRYCOUNT, so that deliveries - 1 counts deaths: one more than it was, and RELEASE lowers it by one first.

if redis.call('GET', KEYS[2]) ~= ARGV[3] or redis.call('EXISTS', KEYS[3]) == 1 then
  return { 0, 0, {} }
end
local page = tonumber(ARGV[5]) + 1
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', page, ARGV[4])
if #pending == 0 then
  return { 0, 0, {} }
end

-- The innocent first: the fewest crashes of this page.
local crashes = pending[1][4]
for i = 2, #pending do
  crashes = math.min(crashes, pending[i][4])
end
local size = tonumber(ARGV[5 + math.min(crashes, 3)])

local taken, claimed = 0, {}
for i = 1, #pending do
  if pending[i][4] == crashes and taken < size then
    taken = taken + 1
    local id = pending[i][1]
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', crashes + 1)
    if entry[1] then
      claimed[#claimed + 1] = entry[1]
    else
      -- Deleted from the stream while pending (6.2 keeps such records for ever).
      redis.call('XACK', KEYS[1], ARGV[1], id)
    end
  end
end
return { crashes, taken < #pending and 1 or 0, claimed }
