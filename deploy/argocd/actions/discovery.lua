-- What can be done about a DistillationJob now.
local begun, over = false, false
if obj.status ~= nil then
  begun = obj.status.run ~= nil
  for _, condition in ipairs(obj.status.conditions or {}) do
    if (condition.type == "Complete" or condition.type == "Failed") and condition.status == "True" then
      over = true
    end
  end
end
local suspended = obj.spec.suspend == true
local leaves = obj.metadata.deletionTimestamp ~= nil

return {
  suspend = { disabled = leaves or over or suspended, displayName = "Suspend", iconClass = "fa fa-fw fa-pause" },
  resume = { disabled = leaves or over or not suspended, displayName = "Resume", iconClass = "fa fa-fw fa-play" },
  rerun = { disabled = leaves or not over, displayName = "Run again", iconClass = "fa fa-fw fa-redo" },
  cancel = { disabled = leaves or over or not begun, displayName = "Cancel", iconClass = "fa fa-fw fa-stop" },
}
