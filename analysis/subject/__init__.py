"""Whatever is looked at, as one value: a suite's results in a store, imported runs, a report's folder, a tidy file."""

from analysis.subject.box import BoxSubject
from analysis.subject.grid import Subject, TraceLots, mark_imported, no_traces
from analysis.subject.search import SearchSubject

AnySubject = Subject | SearchSubject | BoxSubject

__all__ = ["AnySubject", "BoxSubject", "SearchSubject", "Subject", "TraceLots", "mark_imported", "no_traces"]
