-- Add jobs to a lane: all of them, or none.
--
-- KEYS  1 the lane   2.. all work streams of the project
-- ARGV  1 most jobs that may wait or be in work, these included; 0: no limit
--       2 how many values (names and values) all jobs have in common, and these
--       then for each job: how many values of its own, and these
-- Returns {jobs that wait or are in work without these, {new entry ids}}; without ids: there was no room
--
-- One command instead of one a job: a producer's time goes into sending and reading replies. A full Redis refuses
-- the first XADD, before anything is written.

local backlog = 0
local most = tonumber(ARGV[1])
if most > 0 then
  for i = 2, #KEYS do
    backlog = backlog + redis.call('XLEN', KEYS[i])
  end
end
local common = tonumber(ARGV[2])
local ids, count, at = {}, 0, 3 + common
if most > 0 then
  local place = at
  while ARGV[place] do
    place = place + 1 + tonumber(ARGV[place])
    count = count + 1
  end
  if backlog + count > most then
    return { backlog, ids }
  end
end

local lane, flat = KEYS[1], {}
for i = 1, common do
  flat[i] = ARGV[2 + i]
end
count = 0
while ARGV[at] do
  local own = tonumber(ARGV[at])
  count = count + 1
  if common == 0 and own == 2 then
    ids[count] = redis.call('XADD', lane, '*', ARGV[at + 1], ARGV[at + 2])
  else
    for i = 1, own do
      flat[common + i] = ARGV[at + i]
    end
    ids[count] = redis.call('XADD', lane, '*', unpack(flat, 1, common + own))
  end
  at = at + 1 + own
end
return { backlog, ids }
