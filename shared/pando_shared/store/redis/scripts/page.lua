-- A page of jobs, newest first: O(log n + page).
-- KEYS[1] zset of job ids   ARGV[1] prefix of job keys, ARGV[2] id to start behind or '', ARGV[3] length
-- Returns the jobs' JSON, or nil if ARGV[2] is not in the index.
local first = 0
if ARGV[2] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[2])
  if not rank then return nil end
  first = rank + 1
end
local jobs = {}
for i, id in ipairs(redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[3] - 1)) do
  jobs[i] = redis.call('GET', ARGV[1] .. id)
end
return jobs
