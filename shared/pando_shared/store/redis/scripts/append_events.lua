-- Adds to a job's history under its fence.
-- KEYS[1] job, KEYS[2] its events, KEYS[3] set of the ended jobs that have events
-- ARGV[1] job id, ARGV[2] the terminal states, each between spaces
-- ARGV[3] epoch or '', ARGV[4..] events
-- Returns false if there is no such job, the job's epoch if it is another one, else -1.
local text = redis.call('GET', KEYS[1])
if not text then return false end
local job = cjson.decode(text)
if ARGV[3] ~= '' and job.epoch ~= tonumber(ARGV[3]) then return job.epoch end
for i = 4, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
if #ARGV > 3 and string.find(ARGV[2], ' ' .. job.state .. ' ', 1, true) then
  redis.call('SADD', KEYS[3], ARGV[1])
end
return -1
