"""Assignments of a course: student copies made from solved notebooks, submissions graded.

The assignments are an ordinary nbgrader course (`notebooks/assignments`). This package adds student
copies that are the same on every machine, submissions in the layouts of learning platforms, and a
process of its own for each submission, so that a broken one never stops the others.
"""

from xmr_course.grading.own_work import own_work

__all__ = ["own_work"]
