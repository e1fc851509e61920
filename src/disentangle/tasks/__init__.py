"""What is to be predicted: a number, one of two classes, one of several, or several labels at once.

A task is a loss, one term per row; what a model's scores say, as numbers or probabilities; and the metrics of that. Which
one it is follows from the labels, see `task_of`; a model keeps it, as JSON, and so do those who read its predictions.
"""

from disentangle.tasks.classes import Binary, Classes
from disentangle.tasks.from_labels import TASKS, as_task, task_of
from disentangle.tasks.multi_label import MultiLabel
from disentangle.tasks.regression import SENTIMENT, Regression
from disentangle.tasks.task import Task

__all__ = ["SENTIMENT", "TASKS", "Binary", "Classes", "MultiLabel", "Regression", "Task", "as_task", "task_of"]
