-- Move jobs whose time has come to the due stream.
--
-- KEYS  1 delayed   2 delayed jobs   3 due stream   4 control
-- ARGV  1 how many at most
-- Returns {moved, next due ms or -1, paused (1 or 0), TIME seconds, TIME microseconds}
--
-- Each job is added before it is removed. Fields that start with 'S' belong to a message that was given a
-- slot of a paused target: the slot is its due time, and goes on in `_state` (of two names the last counts).
-- Those that start with 'P' and a name wait for an operator's stop of that name, and are due when they expire.
-- The first write is HDEL of nothing: retries move on when Redis is full, or it could not be drained.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function next_due()
  return tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or -1)
end

local control = redis.call('HMGET', KEYS[4], 'pause:until', 'stop:project')
local pause_end = tonumber(control[1] or 0)
if control[2] or now < pause_end then
  local due = next_due()
  return { 0, due < 0 and -1 or math.max(due, pause_end), 1, time[1], time[2] }
end

local function flat_fields(text, slot)
  local ok, flat = pcall(cjson.decode, text)
  if not ok or type(flat) ~= 'table' or #flat == 0 or #flat % 2 == 1 or #flat > 2000 then
    return nil
  end
  for i, value in ipairs(flat) do
    if type(value) ~= 'string' then
      return nil
    end
    if slot and i % 2 == 0 and flat[i - 1] == '_state' and string.find(value, '^{.+}$') then
      flat[i] = string.format('%s,"slot":%.3f}', string.sub(value, 1, -2), slot / 1000)
    end
  end
  return flat
end

local freed = 0
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
if #due > 0 then
  redis.call('HDEL', KEYS[2], '')
end
for i = 1, #due, 2 do
  local member = due[i]
  local fields = redis.call('HGET', KEYS[2], member)
  if fields then
    local slot = nil
    if string.byte(fields) == 83 then
      slot, fields = tonumber(due[i + 1]), string.sub(fields, 2)
      freed = freed + 1
    elseif string.byte(fields) == 80 then
      fields = string.sub(fields, string.find(fields, '[', 1, true) or 2)
      freed = freed + 1
    end
    local flat = flat_fields(fields, slot)
    if flat then
      redis.call('XADD', KEYS[3], '*', unpack(flat))
    else
      -- Not ours, and not dropped: it is refused by whoever reads it, and ends in the dead letters.
      redis.call('XADD', KEYS[3], '*', 'message', fields)
    end
  end
  redis.call('ZREM', KEYS[1], member)
  redis.call('HDEL', KEYS[2], member)
end
local left = next_due()
if #due > 0 and (left < 0 or (freed > 0 and redis.call('HINCRBY', KEYS[4], 'held', -freed) <= 0)) then
  redis.call('HDEL', KEYS[4], 'held')
end
return { #due / 2, left, 0, time[1], time[2] }
