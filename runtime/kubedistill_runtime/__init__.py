"""The data plane: what runs in the pods and on one machine."""
