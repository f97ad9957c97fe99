-- response-transformer
edge.plugins["response-transformer"] = {
  response = function(_, conf, headers)
    for _, name in ipairs(conf.remove) do headers:remove(name) end
    for _, pair in ipairs(conf.rename) do
      local value = headers:get(pair[1])
      if value then
        headers:remove(pair[1])
        headers:replace(pair[2], value)
      end
    end
    for _, pair in ipairs(conf.replace) do
      if headers:get(pair[1]) then headers:replace(pair[1], pair[2]) end
    end
    for _, pair in ipairs(conf.add) do
      if not headers:get(pair[1]) then headers:add(pair[1], pair[2]) end
    end
    for _, pair in ipairs(conf.append) do headers:add(pair[1], pair[2]) end
  end,
}
