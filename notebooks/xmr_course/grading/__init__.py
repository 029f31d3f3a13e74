"""Assignments of a course: student copies made from solved notebooks, submissions graded.

The assignments are an ordinary nbgrader course (`notebooks/assignments`); nbgrader does the work.
What is added here: student copies that are the same on every machine, submissions in whatever
layout a learning platform gives, and one broken submission never stops the others.
"""

from xmr_course.grading.own_work import own_work

__all__ = ["own_work"]
