-- cors
local DEFAULT_PORTS = {["http"] = ":80", ["https"] = ":443"}

-- The origin as it is compared and written: without its scheme's own port.
local function normal(origin)
  local scheme = origin:match("^(%a+)://")
  local port = scheme and DEFAULT_PORTS[scheme]
  if port and origin:sub(-#port) == port then return origin:sub(1, -#port - 1) end
  return origin
end

local function allowed(conf, origin)
  if conf.single then return conf.single end
  if conf.any then return (conf.credentials and origin) or "*" end
  if not origin then return nil end
  local candidate = normal(origin)
  if conf.literals[candidate] then return candidate end
  for _, pattern in ipairs(conf.patterns) do
    if candidate:find(pattern) then return candidate end
  end
  return nil
end

local function varies(conf, origin)
  return not conf.any or (conf.credentials and origin ~= nil)
end

-- Of two Origin headers, which Envoy joins, the first; an empty one is none.
local function origin_of(headers)
  local origin = (headers:get("origin") or ""):match("^[^,]*")
  return origin ~= "" and origin or nil
end

local function preflight(conf, origin, asked)
  local answer = {
    ["access-control-allow-methods"] = conf.methods,
    ["access-control-allow-headers"] = conf.headers or asked,
    ["access-control-max-age"] = conf.max_age,
    ["access-control-allow-origin"] = allowed(conf, origin),
  }
  if conf.credentials then answer["access-control-allow-credentials"] = "true" end
  if varies(conf, origin) then answer["vary"] = "Origin" end
  return edge.reply(200, answer)
end

edge.plugins["cors"] = {
  access = function(stream, conf)
    local headers = stream.headers
    local origin = origin_of(headers)
    stream.origin = origin
    if not origin or headers:get(":method") ~= "OPTIONS" then return end
    if (headers:get("access-control-request-method") or "") == "" then return end
    stream.cors_done = true
    if conf.continue then return end
    return preflight(conf, origin, headers:get("access-control-request-headers"))
  end,

  no_route = function(stream)
    stream.origin = origin_of(stream.headers)
  end,

  response = function(stream, conf, headers)
    if stream.cors_done then return end
    local origin = stream.origin
    local allow = allowed(conf, origin)
    if varies(conf, origin) then headers:add("vary", "Origin") end
    if allow then headers:replace("access-control-allow-origin", allow) end
    if conf.credentials then headers:replace("access-control-allow-credentials", "true") end
    if conf.exposed then headers:replace("access-control-expose-headers", conf.exposed) end
  end,
}
