"""One module for each lesson, with its pictures and the checks of its exercises.

A notebook writes `from xmr_course.lessons import lesson_07 as lesson`, then calls
`lesson.plot_sets(…)` for a picture and `lesson.check_mean_ranks(mean_ranks)` for a check.
"""
