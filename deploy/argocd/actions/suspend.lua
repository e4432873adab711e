-- Save and stop; nothing is charged.
obj.spec.suspend = true
return obj
