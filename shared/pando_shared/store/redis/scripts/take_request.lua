-- Takes a request out of a bucket, if one is left: a tenant's, or one of addresses for wrong keys.
-- KEYS[1] hash: tokens left, and the time at which there were so many
-- ARGV[1] requests a minute, which a full bucket holds too, ARGV[2] now in seconds
-- Returns the tokens left, as text, and 1 if the request was taken, else 0.
local rate, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or rate, tonumber(kept[2]) or now
-- Clocks of API processes differ: time never runs backwards here.
if now > at then
  tokens, at = tokens + (now - at) * rate / 60, now
end
tokens = math.min(tokens, rate)
local taken = 0
if tokens >= 1 then
  tokens, taken = tokens - 1, 1
end
local text = string.format('%.17g', tokens)
redis.call('HSET', KEYS[1], 'tokens', text, 'at', string.format('%.17g', at))
-- A bucket that has been left alone for a minute is full, as one that is not there.
redis.call('EXPIRE', KEYS[1], 120)
return {text, taken}
