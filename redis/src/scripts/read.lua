-- Reads a pool's hash if it changed. KEYS[1]: the hash. ARGV: the nonce and the version that the
-- caller knows.
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HGET', key, 'format') ~= '1') then
    return {'foreign'}
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local nonce = redis.call('HGET', key, 'nonce') or ''
local version = redis.call('HGET', key, 'version') or '0'
if nonce == ARGV[1] and version == ARGV[2] then
    return {now, nonce, version}
end
return {now, nonce, version, redis.call('HGETALL', key)}
