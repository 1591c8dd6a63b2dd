-- Takes deliveries that are due, and puts them off for as long as the taker may need.
-- KEYS[1] due times, KEYS[2] deliveries   ARGV[1] now, ARGV[2] when others may take them, ARGV[3] how many
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local found = {}
for _, id in ipairs(ids) do
  local text = redis.call('HGET', KEYS[2], id)
  if text then
    redis.call('ZADD', KEYS[1], ARGV[2], id)
    found[#found + 1] = text
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
