"""How many rows a task needs: what data efficiency is, a prediction of it, and the number of rows that follows."""

from tamis.budget.advise import Advice, AdviceSettings, advise, read_auto
from tamis.budget.efficiency import data_efficiency, exponent, learning_curve, rows_for, share_at
from tamis.budget.predict import COEFFICIENTS, Coefficients, Fit, Measurement, fit_coefficients, predict_efficiency

__all__ = [
    "COEFFICIENTS",
    "Advice",
    "AdviceSettings",
    "Coefficients",
    "Fit",
    "Measurement",
    "advise",
    "data_efficiency",
    "exponent",
    "fit_coefficients",
    "learning_curve",
    "predict_efficiency",
    "read_auto",
    "rows_for",
    "share_at",
]
