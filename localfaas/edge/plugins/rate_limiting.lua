-- rate-limiting: fixed windows, aligned to the clock (UTC)
local LENGTH = {second = 1, minute = 60, hour = 3600, day = 86400}

-- When the window that `now` is in ends.
local function end_of(period, now)
  local length = LENGTH[period]
  if length then return now - now % length + length end
  local date = os.date("!*t", now)
  local days_passed = (period == "month" and date.day or date.yday) - 1
  local start = now - now % 86400 - days_passed * 86400
  local days = 365
  local leap = date.year % 4 == 0 and (date.year % 100 ~= 0 or date.year % 400 == 0)
  if period == "month" then
    days = ({31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[date.month]
  elseif leap then
    days = 366
  end
  return start + days * 86400
end

local function client(stream, conf, handle)
  if conf.service then return conf.service end
  if conf.header then
    local value = stream.headers:get(conf.header)
    if value and value ~= "" then return value end
  elseif conf.path and stream.headers:get(":path"):match("^[^?]*") == conf.path then
    return conf.path
  end
  return edge.address(handle)
end

local function look(conf, who, now)
  local found, tightest, stop = {}, nil, false
  for index, limit in ipairs(conf.limits) do
    local ends = end_of(limit.period, now)
    local counted = edge.count_of(limit.key .. who, ends, now)
    local left = limit.limit - counted.count
    local view = {limit = limit, counted = counted, left = left, reset = ends - now}
    found[index] = view
    if not tightest or left < tightest.left then tightest = view end
    if left <= 0 then stop = true end
  end
  return found, tightest, stop
end

edge.plugins["rate-limiting"] = {
  access = function(stream, conf, handle)
    local who = client(stream, conf, handle)
    local found, tightest, stop = look(conf, who, stream.now)
    if not stop then
      for _, view in ipairs(found) do
        view.counted.count = view.counted.count + 1
        view.left = view.left - 1
      end
    end
    if not conf.hide then stream.rate_limits, stream.rate_limit, stream.limited = found, tightest, stop end
    if stop then return edge.error(stream, conf.status, conf.message) end
  end,

  response = function(stream, _, headers)
    local tightest = stream.rate_limit
    if not tightest then return end
    for _, view in ipairs(stream.rate_limits) do
      headers:replace(view.limit.limit_header, view.limit.text)
      headers:replace(view.limit.remaining_header, tostring(math.max(view.left, 0)))
    end
    local reset = tostring(tightest.reset)
    headers:replace("ratelimit-limit", tightest.limit.text)
    headers:replace("ratelimit-remaining", tostring(math.max(tightest.left, 0)))
    headers:replace("ratelimit-reset", reset)
    if stream.limited then headers:replace("retry-after", reset) end
  end,
}
