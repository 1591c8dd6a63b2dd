-- How many of a tenant's jobs are in each of some states.
-- KEYS[1] zset of the tenant's job ids, KEYS[2..] sets of the ids of all jobs in a state
local counts = {}
for i = 2, #KEYS do
  local count = 0
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[i])) do
    if redis.call('ZSCORE', KEYS[1], id) then count = count + 1 end
  end
  counts[i - 1] = count
end
return counts
