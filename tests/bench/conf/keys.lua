-- Requests with one of 64 keys each.
local number = 0
request = function()
  number = (number + 1) % 64
  wrk.headers["X-Key"] = "key" .. number
  return wrk.format()
end
