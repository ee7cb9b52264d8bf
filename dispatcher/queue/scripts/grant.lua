-- Charge messages to a project's bucket, or say when to ask again.
--
-- KEYS  1 quota   2 control   3 pauses
-- ARGV  1 n   2 microseconds of the bucket one message costs   3 depth of the bucket in microseconds
--       4 '1': lane high   5 consumer   6 how long a probe may take, ms; 0: this
--       bucket stands before no circuit
-- Returns {granted (1 or 0), wait us, largest batch, circuit, pause end ms, paused targets, TIME s, TIME us}
--
-- GCRA on the Redis clock: the quota key holds "<tat>:<lead>", the time until which everything granted so far
-- is paid for, and how far ahead of the clock the last grant put it.
-- * Missing (first use, a flushed server): the bucket starts empty, or every restart would grant a burst.
-- * tat is clamped to now + max(1 s, lead): a clock set back must not stop the project.
-- * A lane other than high leaves a tenth of the depth to it.
-- * More than the depth at once (a multicast of 500 at a small quota) is paid for in advance: the tokens are
--   reserved and the caller waits for them. One such reservation at a time.
-- The circuit stands in the same script, or four replicas would probe and ramp four times. The first write is
-- DEL, so that a full Redis can still be drained.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local paused = redis.call('ZCOUNT', KEYS[3], now_ms, '+inf')
local control = redis.call('HMGET', KEYS[2], 'pause:until', 'pause:probe', 'pause:ramp')
local n, cost, depth = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local circuit, pause_end = 'closed', 0

local function reply(granted, wait, largest)
  return { granted, math.ceil(wait), largest, circuit, pause_end, paused, time[1], time[2] }
end

if ARGV[6] == '0' then
  circuit = 'closed'
elseif control[1] then
  pause_end = tonumber(control[1])
  circuit = 'open'
  if now_ms < pause_end then
    return reply(0, (pause_end - now_ms) * 1000, 1)
  end
  -- Half-open: one batch of one worker. A claim is "<end ms>:<used>:<consumer>".
  local claim_end, used, holder = string.match(control[2] or '', '^(%d+):(%d):(.*)$')
  if claim_end and now_ms < tonumber(claim_end) and (used == '1' or holder ~= ARGV[5]) then
    return reply(0, math.min(1000000, (claim_end - now_ms) * 1000), 1)
  end
  circuit = 'probe'
elseif control[3] then
  local age = now_ms - control[3]
  if age >= 0 and age < 60000 then
    circuit = 'ramp'
    cost = cost / math.max(0.1, age / 60000)
  end
end

if ARGV[4] ~= '1' then
  depth = depth * 0.9
end
depth = math.max(depth, cost)
local largest = math.max(1, math.floor(depth / cost + 1e-9))

local function store(tat)
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], string.format('%.3f:%.0f', tat, math.max(0, math.ceil(tat - now))))
end

local tat, lead = string.match(redis.call('GET', KEYS[1]) or '', '^([%d.]+):(%d+)$')
if tat then
  tat = math.max(math.min(tonumber(tat), now + math.max(1000000, tonumber(lead))), now)
else
  tat = now + math.max(depth, tonumber(ARGV[3]))
  store(tat)
end

local after = tat + n * cost
local wait = after - depth - now
if n <= largest then
  if wait > 0 then
    return reply(0, wait, largest)
  end
elseif tat - depth - now > 0 then
  return reply(0, tat - depth - now, largest)
end
store(after)
if circuit == 'probe' then
  redis.call('HSET', KEYS[2], 'pause:probe', string.format('%.0f:1:%s', now_ms + ARGV[6], ARGV[5]))
end
return reply(1, math.max(0, wait), largest)
