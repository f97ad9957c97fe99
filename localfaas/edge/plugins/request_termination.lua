-- request-termination
local function triggered(stream, name)
  if stream.headers:get(name) then return true end
  local query = stream.headers:get(":path"):match("%?(.*)$")
  for argument in (query or ""):gmatch("[^&]+") do
    if argument:match("^[^=]*") == name then return true end
  end
  return false
end

local function quoted(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("%c", function(control)
    return string.format("\\u%04x", control:byte())
  end) .. '"'
end

edge.plugins["request-termination"] = {
  access = function(stream, conf)
    if conf.trigger and not triggered(stream, conf.trigger) then return end
    if conf.body then
      local kind = conf.content_type or "application/json; charset=utf-8"
      return edge.reply(conf.status_code, {["content-type"] = kind}, conf.body)
    end
    local message = conf.message or edge.reasons[conf.status_code]
    local body = message and '{"message":' .. quoted(message) .. "}" or ""
    return edge.reply(conf.status_code, {["content-type"] = "application/json; charset=utf-8"}, body)
  end,
}

edge.reasons = {
  [400] = "Bad request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not found",
  [405] = "Method not allowed", [408] = "Request timeout", [410] = "Gone", [413] = "Payload too large",
  [429] = "Too many requests", [500] = "An unexpected error occurred", [502] = "An invalid response was received from the upstream server",
  [503] = "Service unavailable", [504] = "The upstream server is timing out",
}
