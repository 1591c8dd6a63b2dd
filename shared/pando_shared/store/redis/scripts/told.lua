-- How many events jobs have had, and whether they have ended.
-- KEYS[1] hash of how many of a job's first events are in storage alone
-- KEYS[2..] ids of the jobs in each terminal state
-- ARGV[1] what precedes a job's id in its key, ARGV[2..] job ids
-- Returns for each the number of events, and 1 or 0.
local told = {}
for i = 2, #ARGV do
  local job = ARGV[i]
  local ended = 0
  for k = 2, #KEYS do
    if redis.call('SISMEMBER', KEYS[k], job) == 1 then ended = 1 end
  end
  local stored = tonumber(redis.call('HGET', KEYS[1], job) or 0)
  told[i - 1] = {stored + redis.call('LLEN', ARGV[1] .. job .. ':events'), ended}
end
return told
