"""The home page and the dashboard."""

from flask import Blueprint

bp = Blueprint("main", __name__)
