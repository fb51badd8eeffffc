"""Why runs fail: interventions beside their twins, theorems, detectors of failure, and runs that they abort."""
