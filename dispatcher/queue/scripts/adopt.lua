-- Fetch entries that are pending for the caller, without counting it as a delivery.
--
-- KEYS  1 work stream   2 the caller's lease
-- ARGV  1 group   2 caller   3 the caller's epoch   4 .. ids
-- Returns {{{{id, {field, value, ...}}}, deliveries}, ...} of those that are the caller's; {} without the lease
--
-- XREADGROUP with an id would fetch them too, and raise the delivery count: slow would look like poison.

if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return {}
end
local adopted = {}
for i = 4, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #pending == 1 then
    local deliveries = pending[1][4]
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', deliveries)
    if entry[1] then
      adopted[#adopted + 1] = { { entry[1] }, deliveries }
    else
      redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    end
  end
end
return adopted
