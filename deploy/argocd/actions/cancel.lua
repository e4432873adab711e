-- Save and stop for good.
local os = require("os")
local annotations = obj.metadata.annotations or {}
annotations["kubedistill.io/cancel"] = os.date("!%Y%m%dt%H%M%Sz")
obj.metadata.annotations = annotations
return obj
