"""One instance of each Flask extension; `create_app` binds them. The database object lives in `models/base.py`."""

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

migrate = Migrate(compare_type=True, directory="migrations")
login_manager = LoginManager()
csrf = CSRFProtect()
