-- Adds to a job's history under its fence.
-- KEYS[1] job, KEYS[2] its events   ARGV[1] epoch or '', ARGV[2..] events
-- Returns false if there is no such job, the job's epoch if it is another one, else -1.
local job = redis.call('GET', KEYS[1])
if not job then return false end
if ARGV[1] ~= '' then
  local epoch = cjson.decode(job).epoch
  if epoch ~= tonumber(ARGV[1]) then return epoch end
end
for i = 2, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
return -1
