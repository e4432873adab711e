-- How a DistillationJob fares, for Argo CD. It reads conditions, and uses no library.
local function health(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil then
  return health("Progressing", "waiting for the operator")
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return health("Progressing", "the latest edit has not been seen yet")
end

local yes, no = {}, {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    yes[condition.type] = condition
  elseif condition.status == "False" then
    no[condition.type] = condition
  end
end

local function say(condition)
  local text = condition.reason
  if condition.message ~= nil and condition.message ~= "" then
    text = text .. ": " .. condition.message
  end
  if yes.SpecDrift ~= nil then
    text = text .. " (SpecDrift: " .. yes.SpecDrift.message .. ")"
  end
  return text
end

if yes.Failed ~= nil then
  return health("Degraded", say(yes.Failed))
end
if yes.Complete ~= nil then
  return health("Healthy", say(yes.Complete))
end
if no.Validated ~= nil then
  return health("Degraded", say(no.Validated))
end
if yes.Suspended ~= nil then
  return health("Suspended", say(yes.Suspended))
end
-- A queue, a missing node or an image that can't be pulled may mend itself: none of them fails a sync.
if no.QuotaReserved ~= nil then
  return health("Progressing", say(no.QuotaReserved))
end
if no.Progressing ~= nil then
  return health("Progressing", say(no.Progressing))
end
return health("Progressing", say({ reason = status.phase or "Pending", message = status.message }))
