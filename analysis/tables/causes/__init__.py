"""Why runs fail, as tables: interventions, theorems, detectors and the runs that they abort."""
