-- correlation-id
local worker, count = edge.uuid(), 0

local function access(stream, conf)
  local headers = stream.headers
  local value = headers:get(conf.header)
  if not value or value == "" then
    if conf.counter then
      count = count + 1
      value = worker .. "#" .. count
    else
      value = edge.uuid()
    end
    headers:replace(conf.header, value)
  elseif headers:getNumValues(conf.header) > 1 then
    value = headers:getAtIndex(conf.header, 0)
  end
  stream.correlation_id = value
end

edge.plugins["correlation-id"] = {
  access = access,
  no_route = access,
  response = function(stream, conf, headers)
    if conf.echo and stream.correlation_id then headers:replace(conf.header, stream.correlation_id) end
  end,
}
