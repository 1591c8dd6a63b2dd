-- All jobs of some index sets, as one snapshot.
-- KEYS sets of job ids   ARGV[1] prefix of job keys
local jobs = {}
for _, id in ipairs(redis.call('SUNION', unpack(KEYS))) do
  jobs[#jobs + 1] = redis.call('GET', ARGV[1] .. id)
end
return jobs
