"""Marks: the labels of what belongs to a job, and the annotations by which people ask something of it once."""

from kubedistill.v1alpha1.job import GROUP

JOB_LABEL, JOB_UID_LABEL = f"{GROUP}/job", f"{GROUP}/job-uid"
STAGE_LABEL, RUN_LABEL, ATTEMPT_LABEL = f"{GROUP}/stage", f"{GROUP}/run", f"{GROUP}/attempt"
RERUN_ANNOTATION, CANCEL_ANNOTATION = f"{GROUP}/rerun", f"{GROUP}/cancel"
"""Each is acted on once per token, which is the annotation's value."""
RELEASE_ANNOTATION = f"{GROUP}/release"
"""With any value, it starts a job that settings.onRestore holds."""
